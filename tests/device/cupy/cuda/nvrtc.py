"""The version of the compiler. Tests of compiling for real cards use the real NVRTC."""


class NVRTCError(RuntimeError):
    pass


def getVersion():  # noqa: N802
    return 12, 9


def getSupportedArchs():  # noqa: N802
    return 50, 52, 60, 61, 70, 75, 80, 86, 89, 90, 100, 120
