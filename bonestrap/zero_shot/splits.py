"""Published class splits: which classes of a data set are unseen."""

from __future__ import annotations

# Unseen classes, from 0. NTU: Gupta et al. 2021 (SynSE), as in Li et al. 2024. NW-UCLA: Zhu et al. 2024 (PURLS).
PUBLISHED_SPLITS: dict[str, dict[str, tuple[int, ...]]] = {
    "ntu60": {"55/5": (10, 11, 19, 26, 56), "48/12": (3, 5, 9, 12, 15, 40, 42, 47, 51, 56, 58, 59)},
    "ntu120": {
        "110/10": (4, 13, 37, 43, 49, 65, 88, 95, 99, 106),
        "96/24": (
            5, 9, 11, 16, 18, 20, 22, 29, 35, 39, 45, 49, 59, 68, 70, 81, 84, 87, 93, 94, 104, 113, 114, 119,
        ),
    },
    "nw-ucla": {"8/2": (1, 4), "5/5": (1, 3, 4, 6, 8)},
}  # fmt: skip
