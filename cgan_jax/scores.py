"""Scores of generated pictures: pure functions, each with its range and its source.

Pictures lie in [0, 1]; in sketches 1 is paper and 0 is ink. Scores of single examples come
as one number for each; scores of sets (`kernel_distance`, `frechet_distance`) compare two
sets of feature vectors.
"""

from __future__ import annotations

import functools

import dm_pix
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8
from scipy import ndimage

from cgan_jax.images import luma
from cgan_jax.losses import kl_divergence

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels; Wang et al. 2004, section III.B
KL_EPSILON = 1e-3  # grey value, see `losses.kl_divergence`
STROKE_INK, STROKE_TOLERANCE = 0.5, 1.0  # ink of a stroke's pixel; pixels
SAME_PERSON = 0.6  # distance of dlib's descriptors, as its authors advise
# Of `appearance`: cells a side, bins of orientation and of each colour channel.
_CELLS, _ORIENTATIONS, _LEVELS = 4, 9, 8
_BLOCK = 64  # pictures that are compared side by side


@jax.jit
def ssim(
    images: Float[Array, "n h w c"], references: Float[Array, "n h w c"]
) -> Float[Array, " n"]:
    """Structural similarity of each pair, at most 1; 1 for equal pictures.

    Window of 11x11 pixels, Gaussian of sigma 1.5, data range 1, K1 = 0.01, K2 = 0.03; mean
    over the windows that lie within the picture, and over channels. Wang, Bovik, Sheikh,
    Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 13(4), 2004.

    Args:
      images: in [0, 1], at least 11 pixels a side; one channel or three.
      references: as images.
    """
    compare = functools.partial(
        dm_pix.ssim, max_val=1.0, filter_size=SSIM_WINDOW, filter_sigma=SSIM_SIGMA
    )
    return jax.lax.map(
        lambda pair: compare(*pair), (images, references), batch_size=_BLOCK
    )


def psnr(
    images: Float[Array, "n h w c"], references: Float[Array, "n h w c"]
) -> Float[Array, " n"]:
    """-10 log10 of the mean square error, in dB at data range 1; inf for equal pictures.

    Args:
      images: in [0, 1]; the error is the mean over pixels and channels.
      references: as images.
    """
    return dm_pix.psnr(images, references)


def grey(images: Float[Array, "n h w 3"]) -> Float[Array, "n h w 1"]:
    """The luma of colour pictures, for `ssim` and `psnr` without colour."""
    return luma(images)[..., None]


def sketch_kl(
    sketches: Float[Array, "n h w"], generated: Float[Array, "n h w"]
) -> Float[Array, " n"]:
    """D_KL(y || G) of ink, in nats, at least 0; 0 for equal sketches.

    Args:
      sketches: y, what was to be completed.
      generated: G, the sketches of the answers.
    """
    return kl_divergence(sketches, generated, mass="ink", epsilon=KL_EPSILON)


def stroke_f_score(
    sketch: Float[np.ndarray, "h w"], reference: Float[np.ndarray, "h w"]
) -> float:
    """Harmonic mean of precision and recall of strokes, 0 to 1.

    A pixel belongs to a stroke where its ink, 1 - grey, is above 0.5. Precision is the part
    of the sketch's stroke pixels with one of the reference's within 1 pixel (Euclidean, so
    that diagonal neighbours are too far), recall the reverse. As in Martin, Fowlkes, Malik,
    "Learning to detect natural image boundaries", PAMI 26(5), 2004, but without their
    one-to-one matching of pixels. 1 where neither has a stroke, 0 where one has none.
    """
    strokes, expected = (1 - x > STROKE_INK for x in (sketch, reference))
    if not strokes.any() or not expected.any():
        return float(strokes.any() == expected.any())
    precision = _part_near(strokes, expected)
    recall = _part_near(expected, strokes)
    return 2 * precision * recall / max(precision + recall, np.finfo(float).tiny)


def _part_near(
    strokes: Bool[np.ndarray, "h w"], others: Bool[np.ndarray, "h w"]
) -> float:
    distance = ndimage.distance_transform_edt(~others)
    return float(np.mean(distance[strokes] <= STROKE_TOLERANCE))


def descriptor_distances(
    descriptors: Float[np.ndarray, "n d"], references: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    """Euclidean distance of each pair, at least 0; NaN where either is NaN (no face)."""
    return np.linalg.norm(descriptors - references, axis=-1)


def is_same_person(distances: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether a distance of face descriptors is at most 0.6; not where it is NaN (no face).

    The threshold is that of dlib's example `dnn_face_recognition_ex.cpp`, with which the
    network is 99.38 % right on Labeled Faces in the Wild.
    """
    return distances <= SAME_PERSON


def identification_ranks(
    probes: Float[np.ndarray, "n d"],
    gallery: Float[np.ndarray, "n p d"],
    correct: Int[np.ndarray, " n"],
) -> Int[np.ndarray, " n"]:
    """At which place, from 1 on, a probe's own person stands among a gallery's.

    Closed-set identification as in Phillips, Grother, Micheals, "Evaluation methods in
    face recognition", 2011. Ties count against the probe.

    Args:
      probes: descriptors; NaN where no face was found, which puts the person last.
      gallery: of each probe, one descriptor for each person.
      correct: of each probe, the index of its person.
    """
    distances = np.linalg.norm(gallery - probes[:, None], axis=-1)
    distances = np.where(np.isnan(distances), np.inf, distances)
    own = np.take_along_axis(distances, correct[:, None], axis=1)
    return (distances <= own).sum(axis=1)


def spread(photos: Float[np.ndarray, "k h w 3"]) -> float:
    """Mean root mean square difference between two of k photographs; NaN if k is 1.

    Args:
      photos: answers to one sketch, in [0, 1]; the result lies there too.
    """
    count = len(photos)
    if count < 2:
        return float("nan")
    flat = photos.reshape(count, -1).astype(np.float64)
    distances = [
        np.sqrt(np.mean((flat[i] - flat[j]) ** 2))
        for i in range(count)
        for j in range(i)
    ]
    return float(np.mean(distances))


def kernel_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """Squared maximum mean discrepancy of two sets, unbiased; it may fall below 0.

    Kernel (x.y / d + 1)^3. Binkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs",
    ICLR 2018, section 4; they call it KID over Inception features, which these need not be.

    Args:
      x: feature vectors, at least two.
      y: as x; independent of x.
    """
    whole_x, whole_y = (np.ones((1, len(vectors)), bool) for vectors in (x, y))
    return float(kernel_distances(x, y, whole_x, whole_y)[0])


def kernel_distances(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    parts_x: Bool[np.ndarray, "r n"],
    parts_y: Bool[np.ndarray, "r m"],
) -> Float[np.ndarray, " r"]:
    """`kernel_distance` of many parts of two sets, from the kernels of the whole sets.

    Args:
      x: feature vectors.
      y: as x.
      parts_x: which of x belong to each part; at least two.
      parts_y: likewise of y.
    """
    in_x, in_y = (part.astype(np.float64) for part in (parts_x, parts_y))
    n, m = in_x.sum(1), in_y.sum(1)
    across = ((in_x @ _cubic(x, y)) * in_y).sum(1) / (n * m)
    return _mean_within(x, in_x) + _mean_within(y, in_y) - 2 * across


def _mean_within(
    x: Float[np.ndarray, "n d"], parts: Float[np.ndarray, "r n"]
) -> Float[np.ndarray, " r"]:
    """The mean kernel of two different vectors of each part."""
    kernel, counts = _cubic(x, x), parts.sum(1)
    np.fill_diagonal(kernel, 0)
    return ((parts @ kernel) * parts).sum(1) / (counts * (counts - 1))


def _cubic(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "n m"]:
    base = x.astype(np.float64) @ y.astype(np.float64).T / x.shape[1] + 1
    return base * base * base  # in less than half the time of a power


def frechet_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """Frechet distance, squared, of the Gaussians fitted to two sets; at least 0.

    |mean_x - mean_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)); Dowson and Landau 1982. Biased
    upwards, the more the smaller the sets. It is a FID (Heusel et al. 2017) over Inception
    features only.

    Args:
      x: feature vectors.
      y: as x.
    """
    covariance_x, covariance_y = (np.cov(s.astype(np.float64).T) for s in (x, y))
    root_x = _root(covariance_x)
    # The eigenvalues of C_x C_y are those of this symmetric matrix.
    eigenvalues = np.linalg.eigvalsh(root_x @ covariance_y @ root_x)
    overlap = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    between = np.sum((x.mean(0, np.float64) - y.mean(0, np.float64)) ** 2)
    spread_of_both = np.trace(covariance_x) + np.trace(covariance_y)
    return float(max(between + spread_of_both - 2 * overlap, 0))


def frechet_distances(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    parts_x: Bool[np.ndarray, "r n"],
    parts_y: Bool[np.ndarray, "r m"],
) -> Float[np.ndarray, " r"]:
    """`frechet_distance` of many parts of two sets; as `kernel_distances`."""
    parts = zip(parts_x, parts_y, strict=True)
    return np.array([frechet_distance(x[of_x], y[of_y]) for of_x, of_y in parts])


def _root(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """The symmetric square root of a positive semidefinite matrix."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T


def appearance(photo: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " d"]:
    """A classical description of a picture: shape and colour, two unit vectors in one.

    Shape: histograms of the luma's gradient directions, 9 bins over 180 degrees weighted
    by magnitude, in 4x4 cells (Dalal and Triggs, "Histograms of oriented gradients for
    human detection", CVPR 2005, with one block and hard bins). Colour: histograms of R, G
    and B, 8 bins each. Of both the square root is taken after normalising to sum 1, so
    that distances are Hellinger distances.

    Returns:
      168 values in [0, 1].
    """
    colours = photo.astype(np.float32) / 255
    shape = _gradient_histogram(luma(colours))
    levels = np.minimum(photo.astype(int) * _LEVELS // 256, _LEVELS - 1)
    bins = levels + np.arange(3) * _LEVELS
    colour = np.bincount(bins.ravel(), minlength=3 * _LEVELS)
    return np.concatenate([_hellinger(shape), _hellinger(colour)])


def _gradient_histogram(image: Float[np.ndarray, "h w"]) -> Float[np.ndarray, " c"]:
    dy, dx = np.gradient(image)
    angle = np.arctan2(dy, dx) % np.pi
    bins = np.minimum((angle * _ORIENTATIONS / np.pi).astype(int), _ORIENTATIONS - 1)
    rows, columns = (np.arange(side) * _CELLS // side for side in image.shape)
    cells = rows[:, None] * _CELLS + columns[None]
    return np.bincount(
        (cells * _ORIENTATIONS + bins).ravel(),
        np.hypot(dx, dy).ravel(),
        _CELLS**2 * _ORIENTATIONS,
    )


def _hellinger(histogram: np.ndarray) -> Float[np.ndarray, " d"]:
    return np.sqrt(histogram / max(histogram.sum(), np.finfo(float).tiny))
