"""What an exception of an engine means: for who asked, and for the process. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from s3d_ros.chat import ChatError
from s3d_ros.types import ErrorCode

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_LESS_MEMORY = (
    "give it fewer or smaller images (prompt.frames, prompt.frame_width, prompt.frame_height), a smaller cache "
    "(scene_cache_gb, image_cache_gb), or quantization"
)
_BROKEN = ("cuda error", "cublas", "cudnn_status", "device-side assert", "illegal memory access", "nccl", "hip error")


@dataclass(frozen=True)
class Problem:
    """What became of an exception, without the exception.

    is_broken: nothing works on this GPU any longer in this process, because CUDA errors stay. is_odd: a fault that
    nobody thought of; once may be a question's fault.
    """

    text: str
    code: ErrorCode = ErrorCode.MODEL_FAILED
    is_broken: bool = False
    is_odd: bool = False

    @staticmethod
    def of(error: BaseException) -> Problem:
        """Read an exception. torch is not imported for its errors' types."""
        names = {kind.__name__ for kind in type(error).__mro__}
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        words = str(error).lower()
        if isinstance(error, ChatError):
            return Problem(str(error), error.code)
        if "ModelError" in names:
            return Problem(str(error))
        if names & {"OutOfMemoryError", "MemoryError"} or any(w in words for w in _OUT_OF_MEMORY):
            return Problem(f"the model ran out of memory ({first}); {_LESS_MEMORY}")
        broken = "AcceleratorError" in names or any(w in words for w in _BROKEN)
        return Problem(f"a fault of the model: {type(error).__name__}: {first}", is_broken=broken, is_odd=not broken)


def load_failure(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "transformers", "accelerate"):
        return f"the Python package {error.name} is not installed: pip install torch transformers accelerate"
    return Problem.of(error).text
