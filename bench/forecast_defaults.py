"""The defaults of ``rnncore train forecast`` on generated series: MASE beside naive forecasts' and ridge's.

    python bench/forecast_defaults.py

Hours of a year with two seasonalities (day and week, the day's height half on weekends) and autocorrelated
noise, whose level wanders (a random walk), jumps (twelve times) or multiplies; half a year of the first; and
five years of days with a week, a year and a wandering level. Hours at horizons of one day and four, days at
those of one week and four.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DAY, WEEK = 24, 168


def hours(kind, days=365, seed=1):
    """Hourly values whose level does what ``kind`` says."""
    rng = np.random.default_rng(seed)
    t = np.arange(24 * days)
    weekend = t // DAY % 7 >= 5
    day = 20 * np.sin(2 * np.pi * t / DAY - 1) + 8 * np.sin(4 * np.pi * t / DAY + 0.5)
    noise = np.zeros(len(t))
    shocks = 2 * rng.standard_normal(len(t))
    for i in range(1, len(t)):
        noise[i] = 0.8 * noise[i - 1] + shocks[i]
    rest = np.where(weekend, day / 2 - 15, day + 3) + noise
    if kind == "walk":
        return 200 + 0.8 * np.cumsum(rng.standard_normal(len(t))) + rest
    if kind == "jumps":
        level = np.full(len(t), 200.0)
        for place in rng.choice(len(t), 12, replace=False):
            level[place:] += 30 * rng.standard_normal()
        return level + rest
    return 100 * np.exp(0.006 * np.cumsum(rng.standard_normal(len(t))) + rest / 50)


def days(years=5, seed=2):
    """Daily values with a week, a year and a level that wanders."""
    rng = np.random.default_rng(seed)
    t = np.arange(365 * years)
    week = np.array([0, 2, 3, 3, 5, 12, 9.0])[t % 7] * (1 + 0.3 * np.sin(2 * np.pi * t / 365.25))
    level = 100 + 15 * np.sin(2 * np.pi * t / 365.25) + np.cumsum(rng.standard_normal(len(t)))
    return level + week + 2 * rng.standard_normal(len(t))


SETS = {
    "hours, walking level": (lambda: hours("walk"), "h", (24, 96)),
    "hours, jumping level": (lambda: hours("jumps"), "h", (24, 96)),
    "hours, multiplying level": (lambda: hours("factor"), "h", (24, 96)),
    "half a year of hours": (lambda: hours("walk", 182, 5), "h", (24, 96)),
    "days, walking level": (days, "D", (7, 28)),
}


def measure(values, unit, horizon, folder):
    """MASE on the test part by row of the report, and the seconds of the whole command."""
    times = np.datetime64("2021-01-01", unit) + np.arange(len(values))
    rows = "".join(f"{when},{value:.4f}\n" for when, value in zip(times.astype("M8[m]"), values, strict=True))
    (folder / "load.csv").write_text("date,load\n" + rows)
    words = ["load.csv", "--horizon", str(horizon), "--no-picture", "--progress", "off"]
    began = time.perf_counter()
    command = [sys.executable, "-m", "rnncore", "train", "forecast", *words]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    seconds = time.perf_counter() - began
    lines = said.split("\ntest: ")[1].splitlines()[1:]
    scores = {line[:24].strip(" ,0123456789"): float(line.split()[-1]) for line in lines[:4]}
    return scores, seconds


def main():
    """Print the table."""
    print("| series | horizon | this network | ridge | seasonal naive | persistence | seconds |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (make, unit, horizons) in SETS.items():
            for horizon in horizons:
                scores, seconds = measure(make(), unit, horizon, Path(folder))
                order = ("this network", "ridge on the window", "seasonal naive", "persistence")
                row = " | ".join(f"{scores[who]:.3f}" for who in order)
                print(f"| {name} | {horizon} | {row} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
