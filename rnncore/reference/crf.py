"""Linear-chain conditional random fields, by the sum over paths in log space (Lafferty et al., 2001).

y (T, B, K K): potential of tag j at step t after tag i at step t-1 at place i K + j; at step 0 only i = 0
counts.
"""

import numpy as np


def log_sum(values, axis):
    """log sum of e^values along an axis."""
    highest = values.max(axis=axis, keepdims=True)
    return np.squeeze(highest, axis) + np.log(np.exp(values - highest).sum(axis=axis))


def crf_scratch_size(steps, tags):
    """Entries of working memory that the kernels want: none here."""
    return 0


def forward(potentials):
    """alpha[t, j] = log of the sum over all tags before t, (n, K), from potentials (n, K, K)."""
    alpha = [potentials[0, 0]]
    for step in potentials[1:]:
        alpha.append(log_sum(alpha[-1][:, None] + step, 0))
    return np.array(alpha)


def crf_loss(y, target, lengths, tags, scales, losses, dy, scratch):
    """Losses (B,) of all rows, each -log p(target | y), and scales[b] times the gradient of each in dy."""
    dy[...] = 0
    for b in range(y.shape[1]):
        n = len(y) if lengths is None else lengths[b]
        losses[b] = 0
        if n == 0 or scales[b] == 0:
            continue
        potentials = y[:n, b].reshape(n, tags, tags).astype(np.float64)
        alpha, beta = forward(potentials), np.zeros((n, tags))
        for t in range(n - 1, 0, -1):
            beta[t - 1] = log_sum(potentials[t] + beta[t], 1)
        log_z = log_sum(alpha[-1], 0)
        gradient = np.zeros_like(potentials)
        gradient[0, 0] = np.exp(alpha[0] + beta[0] - log_z)
        gradient[1:] = np.exp(alpha[:-1, :, None] + potentials[1:] + beta[1:, None, :] - log_z)
        path = target[:n, b]
        places = np.arange(n), np.r_[0, path[:-1]], path
        gradient[places] -= 1
        losses[b] = log_z - potentials[places].sum()
        dy[:n, b] = scales[b] * gradient.reshape(n, -1)


def crf_best(y, lengths, tags, best, scores, scratch):
    """Each row's likeliest tags, best (T, B), 0 in the padding, and their log-probability, scores (B,)."""
    best[...] = 0
    for b in range(y.shape[1]):
        n = len(y) if lengths is None else lengths[b]
        scores[b] = 0
        if n == 0:
            continue
        potentials = y[:n, b].reshape(n, tags, tags).astype(np.float64)
        score, come = potentials[0, 0], []
        for step in potentials[1:]:
            total = score[:, None] + step
            come.append(total.argmax(axis=0))
            score = total.max(axis=0)
        tag = int(score.argmax())
        scores[b] = score[tag] - log_sum(forward(potentials)[-1], 0)
        for t in range(n - 1, -1, -1):
            best[t, b] = tag
            tag = come[t - 1][tag] if t else 0
