"""The exceptions that a user is meant to see, each as one line."""


class InputError(Exception):
    """Something in the user's input is wrong.

    The message is one line that names the file or key and what is allowed; the command line prints
    it without a traceback and exits with code 2.
    """


class RunFailedError(Exception):
    """A method cannot give a result on this stack; the message becomes the reason in its run.json."""


class NotApplicableError(RunFailedError):
    """A bound without meaning for a dataset, as a ceiling without true poses: no failure; the message says so."""


class NotConfiguredError(RunFailedError):
    """A method that needs a licence or a host that nobody gave it: no failure; the message says what to set."""


class MachineError(Exception):
    """The machine failed, neither the user's input nor a method: a full or failing disk, a kill from outside.

    It is no result: the command ends with one line and exit code 2, what was saved stays, and the same call goes on.
    """
