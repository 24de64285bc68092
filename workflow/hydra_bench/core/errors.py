"""The one exception a user is meant to see."""


class InputError(Exception):
    """Something in the user's input is wrong.

    The message is one line that names the file or key and what is allowed; the command line prints
    it without a traceback and exits with code 2.
    """


class RunFailedError(Exception):
    """A method cannot give a result on this stack; the message becomes the reason in its run.json."""


class NotConfiguredError(RunFailedError):
    """A method that needs a licence or a host that nobody gave it: no failure; the message says what to set."""
