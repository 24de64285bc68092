"""From metrics to what people read: tables, figures, one page, and the comparison of two results.

A number here is a mean of numbers in metrics files, or its spread: nothing is aligned, clustered or scored. Where files
lie is asked of contracts.places, what a measure is called of the contract of the metrics file.
"""
