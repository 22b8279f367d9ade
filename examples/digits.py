"""Handwritten digits, read pixel by pixel, with the scikit-learn estimator.

    python examples/digits.py

needs scikit-learn (``pip install rnncore[sklearn]``), which brings the 1,797 images of 8 x 8 pixels. Each is
a sequence of 64 numbers; a fifth is kept for testing.
"""

import time

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rnncore.sklearn import RNNClassifier


def main(max_iter: int = 150) -> float:
    """Train a GRU of 64 units; returns the share of test images that it gets right."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    train, test, train_labels, test_labels = parts
    model = RNNClassifier("gru", hidden_size=64, dropout=0.5, max_iter=max_iter, random_state=0, verbose=True)
    begin = time.perf_counter()
    model.fit(train, train_labels)
    seconds = time.perf_counter() - begin
    share = float(model.score(test, test_labels))
    print(f"{share:.1%} of {len(test)} test images right, after {seconds:.0f} seconds of training")
    return share


if __name__ == "__main__":
    main()
