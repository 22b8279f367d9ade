"""Connectionist temporal classification (Graves, Fernandez, Gomez & Schmidhuber, 2006), and decoding.

The U labels of a row are written with a blank before, between and behind them: S = 2U + 1 states. With lp =
log softmax(y), an alignment of the row's n steps goes through the states from the first or second to the last
or last but one, at each step staying, moving on by one, or skipping a blank between two labels that differ:

    alpha[t, s] = lp[t, s] + log sum of e^alpha[t-1] over s, s-1 and, if it may be skipped to, s-2
    beta[t, s]  = log sum of e^(beta[t+1] + lp[t+1]) over s, s+1 and, if it may be skipped to, s+2
    log p       = log (e^alpha[n-1, S-1] + e^alpha[n-1, S-2])
    dy[t, c]    = softmax(y[t])[c] - sum over the states s of c of e^(alpha[t, s] + beta[t, s] - log p)
"""

import numpy as np


def log_softmax(y):
    """Over the last axis, in double."""
    shifted = y.astype(np.float64) - y.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def log_add(*terms):
    """log of the sum of e^term."""
    return np.logaddexp.reduce(np.stack(np.broadcast_arrays(*terms)))


def _shifted(array, by):
    """array[s - by], -inf where there is none."""
    out = np.full_like(array, -np.inf)
    if by > 0:
        out[by:] = array[:-by]
    else:
        out[:by] = array[-by:]
    return out


def _row(lp, states, blank):
    """log p of one row, and the posteriors (n, C) of its classes; lp (n, C)."""
    emitted = lp[:, states]
    skips = np.zeros(len(states), bool)
    skips[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    alphas, beta = np.full(emitted.shape, -np.inf), np.full(len(states), -np.inf)
    alphas[0, :2] = emitted[0, :2]
    for t in range(1, len(lp)):
        skipped = np.where(skips, _shifted(alphas[t - 1], 2), -np.inf)
        alphas[t] = emitted[t] + log_add(alphas[t - 1], _shifted(alphas[t - 1], 1), skipped)
    log_p = log_add(*alphas[-1, -2:])
    posteriors = np.zeros(lp.shape)
    beta[-2:] = 0
    for t in reversed(range(len(lp))):
        np.add.at(posteriors[t], states, np.exp(alphas[t] + beta - log_p) if np.isfinite(log_p) else 0)
        beta = beta + emitted[t]
        beta = log_add(beta, _shifted(beta, -1), _shifted(np.where(skips, beta, -np.inf), -2))
    return log_p, posteriors


def ctc_scratch_size(steps, labels):
    """Doubles of working memory that a thread of ``ctc_loss`` wants: none here."""
    return 0


def ctc_loss(y, labels, offsets, lengths, blank, scales, losses, dy, scratch=None):
    """Losses of all rows, each -log p(labels | y), and scales[b] times the gradient of each.

    y (T, B, C) are logits, labels (N,) ids other than blank, of which offsets[b] ... offsets[b + 1] - 1 are
    those of row b; losses (B,) and dy (T, B, C) are written. A row that has no alignment gets an infinite
    loss and no gradient. Padding is not read, and dy is 0 there.
    """
    dy[...] = 0
    for b in range(y.shape[1]):
        n = len(y) if lengths is None else lengths[b]
        states = np.full(2 * (offsets[b + 1] - offsets[b]) + 1, blank)
        states[1::2] = labels[offsets[b] : offsets[b + 1]]
        lp = log_softmax(y[:n, b])
        log_p, posteriors = _row(lp, states, blank)
        losses[b] = -log_p
        if log_p != -np.inf:
            dy[:n, b] = scales[b] * (np.exp(lp) - posteriors)


def ctc_search_sizes(steps, classes, width):
    """Doubles and indices of working memory that a thread of ``ctc_search`` wants: none here."""
    return 0, 0


def ctc_search(y, lengths, blank, width, found, found_lengths, scores, scratch=None, places=None):
    """Prefix beam search (Graves & Jaitly, 2014; Hannun et al., 2014): the likeliest labels of each row.

    y (T, B, C) are logits, finite, ``width`` how many prefixes are kept after a step; found (B, T),
    found_lengths (B,) and scores (B,), log p of the labels by the alignments that were kept, are written.
    """
    for b in range(y.shape[1]):
        # For each prefix log p of its alignments so far that end in a blank, and in its last label.
        beams: dict[tuple[int, ...], list[float]] = {(): [0.0, -np.inf]}
        for lp in log_softmax(y[: len(y) if lengths is None else lengths[b], b]):
            grown: dict[tuple[int, ...], list[float]] = {}

            def add(prefix, place, value, grown=grown):
                ends = grown.setdefault(prefix, [-np.inf, -np.inf])
                ends[place] = log_add(ends[place], value)

            for prefix, (in_blank, in_label) in beams.items():
                either = log_add(in_blank, in_label)
                add(prefix, 0, either + lp[blank])
                for label in np.delete(np.arange(len(lp)), blank):
                    again = bool(prefix) and prefix[-1] == label
                    if again:
                        add(prefix, 1, in_label + lp[label])
                    add((*prefix, label), 1, (in_blank if again else either) + lp[label])
            beams = dict(sorted(grown.items(), key=lambda item: -log_add(*item[1]))[:width])
        best = max(beams, key=lambda prefix: log_add(*beams[prefix]))
        found[b, : len(best)] = best
        found_lengths[b] = len(best)
        scores[b] = log_add(*beams[best])
