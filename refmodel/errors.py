"""Errors a user can meet: each names the thing, the limit and the way out."""


class SkipspikeError(Exception):
    """Base of all errors that are the input's fault, not the program's."""


class ConfigError(SkipspikeError):
    """A core configuration that cannot be built."""


class NetworkError(SkipspikeError):
    """A network description that is not legal."""


class ModelFileError(SkipspikeError):
    """A model file that is damaged, of another version, or not a model file."""


class ImportRefused(SkipspikeError):
    """Another program's file that is damaged, hostile, or holds what a network here cannot express."""


class CompileError(SkipspikeError):
    """A network that this core cannot run."""


class DataError(SkipspikeError):
    """A data set that is missing, damaged or does not fit the network."""


class ToolError(SkipspikeError):
    """A tool that is missing, too old or failed."""


class BoardError(SkipspikeError):
    """An unknown board, or a design that does not fit it."""
