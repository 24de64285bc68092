"""Results that travel: archives of a results folder, and the board of results that anybody hands in.

Nothing here computes a result: it packs what there is, lets the evaluation score it again, and shows what came out.
"""
