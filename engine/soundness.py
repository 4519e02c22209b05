"""What models return is checked before it is used: a value that is no number would order lists by chance."""

import numpy as np

from engine.protocol import Candidates, EngineError, Vectors

_UNLIKE = -1.0  # the cosine of what is as unlike as can be


def check_directions(vectors: Vectors) -> Vectors:
    """The vectors, shape (n, d). Raises EngineError where one is not of numbers, or of zeros, which is like nothing."""
    lengths = np.linalg.norm(vectors, axis=-1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise EngineError("the tower returned a vector without a direction: zeros, or values that are not numbers")
    return vectors


def check_logits(logits: Vectors) -> Vectors:
    """The logits, shape (n,). Raises EngineError where one is no number."""
    if not np.isfinite(logits).all():
        raise EngineError("the cross-encoder returned values that are not numbers")
    return logits


def finite_candidates(rows: np.ndarray, scores: np.ndarray) -> Candidates:
    """Those of c found rows and scores, both of shape (c,), that are products with a score."""
    sound = (rows >= 0) & np.isfinite(scores)  # an approximate index may return fewer than k
    return Candidates(rows[sound], scores[sound])


def finite_scores(scores: Vectors) -> Vectors:
    """Scores, shape (r,), in which a product without one is as unlike as can be."""
    sound = np.isfinite(scores)
    return scores if sound.all() else np.where(sound, scores, np.float32(_UNLIKE))
