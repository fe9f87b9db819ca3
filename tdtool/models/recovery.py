"""Which true communities are recovered, by the significance of correlations of memberships."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from tdtool.models.cover import Cover
from tdtool.models.cover_overlaps import Overlaps, overlaps


@dataclasses.dataclass(frozen=True)
class Recovery:
    """What is recovered at one level of significance.

    ratio : share of the true communities that a found one is significantly related to; error : for every such pair
    the share of the nodes on which the two differ, summed, and divided by the number of true communities;
    threshold : the level; found, truth : (pairs,) int64 the related pairs; p_values : (pairs,) float64 of them;
    recovered : (k',) bool, for each true community.
    """

    ratio: float
    error: float
    threshold: float
    found: NDArray[np.int64]
    truth: NDArray[np.int64]
    p_values: NDArray[np.float64]
    recovered: NDArray[np.bool_]


def recovery(found: Cover, truth: Cover, *, threshold: float = 0.01) -> Recovery:
    """The recovery ratio and the error function of the tensor method's paper.

    A found community is related to a true one when their vectors of members (0 or 1 for each node) correlate
    positively and the p-value of that is below the threshold: Student's t of Pearson's correlation, n - 2 degrees of
    freedom, two-sided. A true community may be related to several, and every such pair adds to the error. So many
    small pieces of one community all count: read the error beside the ratio.
    Source: Huang, Niranjan, Hakeem, Anandkumar 2015, "Online tensor methods for learning latent variable models",
    JMLR 16, section on evaluation, and the authors' program (two-sided, positive correlations only, 0.01). Unlike that
    program, which takes an error of 0 for no match, equal communities are recovered.
    """
    pairs = overlaps(found, truth)
    p_values = correlation_p_values(pairs)
    related = p_values < threshold
    chosen, partner, shared = pairs.found[related], pairs.truth[related], pairs.shared[related]
    differing = pairs.found_sizes[chosen] + pairs.truth_sizes[partner] - 2 * shared
    recovered = np.zeros(truth.n_communities, np.bool_)
    recovered[partner] = True
    n_truth = int(np.count_nonzero(pairs.truth_sizes))
    if not n_truth:
        ratio, error = 1.0, 0.0
    else:
        ratio = float(np.count_nonzero(recovered)) / n_truth
        error = float(differing.sum()) / (pairs.n_nodes * n_truth)
    return Recovery(ratio, error, threshold, chosen, partner, p_values[related], recovered)


def correlation_p_values(pairs: Overlaps) -> NDArray[np.float64]:
    """(pairs,) two-sided p-value of the correlation of two 0/1 vectors; 1 where it is negative or not defined.

    With r the correlation and t = r sqrt((n - 2) / (1 - r^2)), P(|T| > |t|) is the regularised incomplete beta
    function at 1 - r^2. Equal communities have p = 0, those of all nodes too.
    """
    n = float(pairs.n_nodes)
    x, y = (sizes.astype(np.float64) for sizes in (pairs.found_sizes[pairs.found], pairs.truth_sizes[pairs.truth]))
    shared = pairs.shared.astype(np.float64)
    spread = np.sqrt(x * (n - x)) * np.sqrt(y * (n - y))
    above = n * shared - x * y
    equal = (x == shared) & (y == shared)
    correlation = np.divide(above, spread, out=np.zeros_like(spread), where=spread > 0)
    left = np.clip(1 - correlation**2, 0.0, 1.0)
    freedom = max(n - 2, 0.0)
    p_values = betainc(freedom / 2, 0.5, left) if freedom else np.ones_like(left)
    p_values[correlation <= 0] = 1.0
    p_values[equal] = 0.0
    return np.asarray(p_values, np.float64)
