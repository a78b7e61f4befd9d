"""Which arithmetic is fast here: bfloat16 halves the bytes, but only where the machine multiplies it in hardware."""

from __future__ import annotations

from typing import Final

import torch

#: What torch calls hardware that multiplies bfloat16: x86's AVX-512 and tiles, ARM's NEON and SVE.
_MULTIPLIES_BFLOAT16: Final = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def fast_dtype(device: str) -> torch.dtype:
    """Return the arithmetic in which ``device`` ("cpu", "cuda", "cuda:N") trains fastest: bfloat16 or float32.

    A GPU is taken to have bfloat16. A CPU must report it, because one without it emulates it: two cores of an Ice Lake
    Xeon multiply matrices at 98 GFLOP/s in float32 and at 32 in bfloat16. Newer versions of torch tell what the CPU has
    in ``torch.cpu.get_capabilities``, older ones in private functions and of x86 alone; where neither is there the
    answer is float32, which is right everywhere and at worst slower.
    """
    if torch.device(device).type != "cpu":
        return torch.bfloat16
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is not None:
        capabilities = ask()
        return any(capabilities.get(name, False) for name in _MULTIPLIES_BFLOAT16)
    older = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(supported is not None and supported() for supported in older)
