"""The training loop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import kernels
from ..checks import check_positive_integer, check_seed
from ..clipping import ClipNorm, ClipStep
from ..disk import Path, check_writable
from ..network import Network
from .arguments import (
    as_list,
    as_source,
    check_bptt,
    check_checkpoint,
    check_monitor,
    check_span,
    optional_count,
    require,
    split_penalties,
)
from .checkpoint import Run, load_checkpoint, save_checkpoint
from .gradient import Gradient, average, mean_loss
from .history import History
from .interrupts import CtrlC
from .progress import Progress, check_mode, make_progress
from .segments import Array, Piece, Walk


class Trainer:
    """Trains a network.

    One update: the gradients of ``accumulate`` minibatches are summed, each step of a sequence weighing the
    same wherever it stands, and divided by the number of steps, so that the result is that of one large
    minibatch; penalties are added; the clippers act; the optimizer steps. What is left of a window at the end
    of an epoch makes an update too.

    Parameters
    ----------
    net
        The network.
    loss
        Such as ``CrossEntropy()``.
    optimizer
        Such as ``Adam(1e-3)``.
    clip
        One clipper or several, which act in this order.
    accumulate
        Minibatches per update; a segment is one.
    bptt
        Steps of a segment: longer batches are cut, the state is carried from segment to segment, and each row
        is reset where its ``starts`` are True. None takes batches whole. (k1, k2), k2 not below k1: an
        update's losses are those of k1 steps, and its gradients go back through k2 (Williams & Peng, 1990).
    schedule
        Sets the optimizer's learning rate before each update; ``Plateau`` learns of every validation loss.
    regularizer
        One penalty or several, on weights or on activity.
    seed
        Of ``trainer.rng``, for whatever draws at random during training beside network and data.
    checkpoint
        Path of a file that is written every ``checkpoint_every`` updates, at the end, and on Ctrl-C; with
        ``checkpoint_every=None`` also after each validation.
    monitor
        Has ``on_step(trainer)``, called after every update; and may have ``check(net)``, called at once.
    progress
        ``"auto"`` (a bar on a terminal, lines elsewhere), ``"bar"``, ``"lines"`` or ``"off"``; on standard
        error.

    Attributes
    ----------
    step : int
        Updates made in this run.
    history : History
        What was measured so far.
    validating : float
        Seconds that validations took so far.
    """

    def __init__(
        self,
        net: Network,
        loss: Any,
        optimizer: Any,
        clip: Any = None,
        accumulate: int = 1,
        bptt: int | tuple[int, int] | None = None,
        schedule: Any = None,
        regularizer: Any = None,
        seed: int = 0,
        checkpoint: Path | None = None,
        checkpoint_every: int | None = None,
        monitor: Any = None,
        progress: str = "auto",
    ) -> None:
        if not isinstance(net, Network):
            raise TypeError(f"net is a {type(net).__name__}, but a Network is wanted")
        require("loss", loss, "__call__", "count")
        require("optimizer", optimizer, "step", "state", "load_state")
        if schedule is not None:
            require("schedule", schedule, "__call__", "state", "load_state")
        if monitor is not None:
            check_monitor(monitor, net)
        check_mode(progress)
        check_checkpoint(checkpoint, checkpoint_every)
        self.net, self.loss, self.optimizer, self.schedule = net, loss, optimizer, schedule
        self.accumulate = check_positive_integer("accumulate", accumulate)
        self.bptt = check_bptt(bptt, net)
        self.checkpoint = checkpoint
        self.checkpoint_every = optional_count("checkpoint_every", checkpoint_every)
        self.clips = as_list("clip", clip, "state", "load_state")
        self.regularizers, activity = split_penalties(net, regularizer)
        self.monitor, self.progress = monitor, progress
        self.rng = np.random.default_rng(check_seed(seed))
        self._gradient = Gradient(net, loss, activity, self.bptt)
        self._segment = self.bptt[0] if isinstance(self.bptt, tuple) else self.bptt
        self.penalty = 0.0
        self._recurrent: list[Any] = [layer for layer in net.parts() if hasattr(layer, "clip_step")]
        ahead = next((layer for layer in net.layers if layer.looks_ahead), None)
        if self.bptt is not None and ahead is not None:
            raise ValueError(f"bptt is {bptt}, but {ahead} reads whole sequences: they cannot be cut")
        self._step_clips = [clipper for clipper in self.clips if isinstance(clipper, ClipStep)]
        self._flat_clips = [clipper for clipper in self.clips if clipper not in self._step_clips]
        for clipper in self._flat_clips:
            require("clip", clipper, "__call__")
        if self._step_clips and not self._recurrent:
            raise ValueError("clip holds a ClipStep, but the network has no recurrent layer to clip in")
        self._display = Progress()
        self._validation: Any = None
        self._validate_every: int | None = None
        self._patience: int | None = None
        self._keep_best = False
        self._stop = ""
        self.validating = 0.0
        self._ctrl_c = CtrlC()
        self._between = True  # no minibatch is half done, so that a checkpoint may be written
        self._began = 0.0
        self._run = self._new_run({})

    @property
    def step(self) -> int:
        """Updates made in this run."""
        return self._run.position.step

    @property
    def epoch(self) -> int:
        """Epochs completed in this run."""
        return self._run.position.epoch

    @property
    def history(self) -> History:
        """What was measured so far."""
        return self._run.history

    @property
    def piece(self) -> Piece | None:
        """Input, target and lengths of the latest forward pass."""
        return self._gradient.piece

    @property
    def entered(self) -> Any:
        """The state with which that pass began; None where it was zero."""
        return self._gradient.entered

    def _new_run(self, settings: dict[str, Any]) -> Run:
        parts: dict[str, Any] = {"optimizer": self.optimizer}
        parts |= {f"clip{number}": clipper for number, clipper in enumerate(self.clips)}
        if self.schedule is not None:
            parts["schedule"] = self.schedule
        if hasattr(self.monitor, "state") and hasattr(self.monitor, "load_state"):
            parts["monitor"] = self.monitor
        generators = {"network": self.net.rng, "trainer": self.rng}
        return Run(self.net, parts, generators, settings, self.optimizer.lr)

    def fit(
        self,
        train: Any,
        epochs: int | None = None,
        steps: int | None = None,
        validation: Any = None,
        validate_every: int | None = None,
        patience: int | None = None,
        keep_best: bool = False,
        resume: bool = False,
    ) -> History:
        """Train until ``epochs`` or ``steps`` are reached, whichever comes first.

        Ctrl-C ends training after the current minibatch, with a checkpoint written if there is a path for
        one; pressed again, it ends it at once.

        Parameters
        ----------
        train
            A data source, ``len(train)`` and ``train.batches(epoch, start)``, or a list of batches.
        epochs, steps
            Passes over the data and updates, both counted from the beginning of the run, also of one that is
            resumed. With patience, or a monitor that may call :meth:`stop`, both may be None.
        validation
            A data source: its loss is measured every ``validate_every`` updates, or after each epoch, and at
            the end.
        patience
            Stop after this many validations in a row without a new lowest loss.
        keep_best
            At the end of training, unless it was interrupted, the parameters of the lowest validation loss
            are restored. With patience they always are.
        resume
            Go on from the checkpoint: the run is then the same, bit for bit, as one that was never stopped.

        Returns
        -------
        History

        Raises
        ------
        FloatingPointError
            If loss, gradient or parameters are not finite any more; the last good checkpoint stays.
        TypeError, ValueError
            If an argument or a batch is not as wanted.
        OSError
            If the checkpoint cannot be written, which is tried before the first update.
        """
        train = as_source("train", train)
        validation = None if validation is None else as_source("validation", validation)
        check_span(epochs, steps, validation, validate_every, patience, keep_best, self)
        if resume and self.checkpoint is None:
            raise ValueError("resume is True, but the Trainer has no checkpoint to resume from")
        bptt = list(self.bptt) if isinstance(self.bptt, tuple) else self.bptt  # as JSON gives it back
        settings: dict[str, Any] = {"accumulate": self.accumulate, "bptt": bptt, "batches": len(train)}
        settings |= {"patience": patience, "keep_best": keep_best, "frozen": list(self.net.frozen)}
        self._run = self._new_run(settings)
        if resume and self.checkpoint is not None:
            load_checkpoint(self.checkpoint, self._run)
        if self.checkpoint is not None:
            check_writable(self.checkpoint)
        run, position = self._run, self._run.position
        run.history.steps.reserve(steps or 0)
        run.history.stopped = ""
        self._validation, self._validate_every, self._patience = validation, validate_every, patience
        self._keep_best, self._stop = keep_best or patience is not None, ""
        self._ctrl_c, self._between = CtrlC(), True
        self._began = time.perf_counter() - position.seconds
        self._display = make_progress(self.progress, position.step)
        training = self.net.training
        try:
            with self._step_clipping(), self._ctrl_c:
                self.net.train()
                run.history.stopped = self._loop(train, epochs, steps)
                self._finish()
        except KeyboardInterrupt:
            run.history.stopped = "interrupted"
            if self._between:
                self._save("interrupted")
            else:
                self._display.say("interrupted at once: the last checkpoint stays")
        finally:
            self._ctrl_c = CtrlC()
            self.net.train(training)
            self._display.close()
        return run.history

    def stop(self, reason: str) -> None:
        """End ``fit`` after the update in hand, as if it had come to its end; for a monitor to call.

        Parameters
        ----------
        reason
            What ``history.stopped`` will say; not empty.
        """
        if not isinstance(reason, str) or not reason:
            raise ValueError(f"reason is {reason!r}, but a text that is not empty is wanted")
        self._stop = reason

    def evaluate(self, source: Any) -> float:
        """Mean loss per valid step over a data source: dropout off, the state carried along each batch.

        Raises
        ------
        ValueError
            If the source yields no batch.
        """
        training = self.net.training
        self.net.eval()
        try:
            batches = as_source("source", source).batches(0)
            return mean_loss(self.net, self.loss, batches, self._segment, self._ctrl_c.check)
        finally:
            self.net.train(training)

    def _total(self, epochs: int | None, steps: int | None, batches: int, walk: Walk) -> int | None:
        """Updates of the whole run, if all batches are as long as this one: for the display."""
        minibatches = batches * math.ceil(walk.steps / walk.bptt)
        passes = None if epochs is None else epochs * math.ceil(minibatches / self.accumulate)
        return min((n for n in (passes, steps) if n is not None), default=None)

    def _loop(self, train: Any, epochs: int | None, steps: int | None) -> str:
        """Train on; returns why training ended."""
        run, position = self._run, self._run.position
        if position.unvalidated:
            self._validate()
        while True:
            if ended := self._ended(epochs, steps):
                return ended
            empty = position.batch == 0
            for batch in train.batches(position.epoch, position.batch):
                empty = False
                walk = Walk(batch, self._segment, f"batch {position.batch} of epoch {position.epoch}")
                walk.go_on(run.carry)
                run.carry = None
                if self._display.total is None:
                    self._display.total = self._total(epochs, steps, len(train), walk)
                for first, last in walk.segments(position.time):
                    self._minibatch(walk, first, last)
                    if position.window == self.accumulate:
                        self._update()
                        if ended := self._ended(None, steps):
                            return ended
                    self._ctrl_c.check()
                position.batch, position.time, run.carry = position.batch + 1, 0, None
            if empty:
                raise ValueError("train yields no batch: there is nothing to learn from")
            if position.window:
                self._update()
            position.epoch, position.batch = position.epoch + 1, 0
            if self._validation is not None and self._validate_every is None:
                self._validate()
                self._save_if_due(validated=True)

    def _ended(self, epochs: int | None, steps: int | None) -> str:
        """Why training is over, or an empty string."""
        position = self._run.position
        if self._stop:
            return self._stop
        if self._patience is not None and position.waited >= self._patience:
            return "patience"
        if steps is not None and position.step >= steps:
            return "steps"
        if epochs is not None and position.epoch >= epochs:
            return "epochs"
        return ""

    def _minibatch(self, walk: Walk, first: int, last: int) -> None:
        """Add a segment's gradient, weighed by its valid steps over those of the window's first segment."""
        position = self._run.position
        self._between = False
        try:
            self._gradient.add(walk, first, last, position)
        except FloatingPointError as error:
            raise FloatingPointError(self._diagnosis(self.step + 1, str(error))) from error
        if self._step_clips:
            self._count_clipped_steps()
        position.window += 1
        position.time, self._run.carry = last, walk.state
        self._between = True

    def _update(self) -> None:
        """Average, penalise, clip, step; then everything that happens between two updates."""
        net, run, position = self.net, self._run, self._run.position
        self._between = False
        grads = net.grads.flat
        weight = average(grads, position)
        self.penalty = position.penalty / weight
        self.penalty += sum((penalty(net.params, net.grads) for penalty in self.regularizers), 0.0)
        held = {name: net.params[name].copy() for name in net.frozen}  # from penalties and weight decay
        for name in held:
            net.grads[name].fill(0)
        norm = self._clip(grads)
        if self.schedule is not None:
            self.optimizer.lr = self.schedule(position.step)
        self.optimizer.step(net.params.flat, grads)
        for name, values in held.items():
            net.params[name] = values
        position.step += 1
        position.window = 0
        position.seconds = time.perf_counter() - self._began
        mean = position.loss / weight
        run.history.steps.append(position.step, mean, norm, self.optimizer.lr, position.seconds)
        due = self._validate_every is not None and position.step % self._validate_every == 0
        position.unvalidated = due
        self._between = True
        self._display.step(position.step, mean, norm, self.optimizer.lr)
        if self.monitor is not None:
            self.monitor.on_step(self)
        if due:
            self._validate()
        self._save_if_due(due)

    def _count_clipped_steps(self) -> None:
        """Add what the layers did in the latest minibatch to the counts of every ClipStep."""
        clipped, factors = 0, 0.0
        for layer in self._recurrent:
            clipped += layer.clipped_steps
            factors += layer.clipped_factors
            layer.clipped_steps, layer.clipped_factors = 0, 0.0
        for clipper in self._step_clips:
            clipper.clipped += clipped
            clipper.factors += factors

    def _clip(self, grads: Array) -> float:
        """Clip the averaged gradient; returns its norm before. FloatingPointError if that is not finite."""
        for clipper in self._step_clips:
            clipper.calls += 1
        clips = self._flat_clips
        if clips and isinstance(clips[0], ClipNorm):
            norm = clips[0](grads)
            clips = clips[1:]
        else:
            norm = float(kernels.global_norm(grads))
        if not math.isfinite(norm):
            place = int(np.argmin(np.isfinite(grads)))
            raise FloatingPointError(
                f"step {self.step + 1}: the gradient is not finite, first in {self.net.grads.at(place)!r}; "
                "the parameters are as they were before the step"
            )
        for clipper in clips:
            clipper(self.net.grads if clipper.takes_names else grads)
        return norm

    def _validate(self) -> None:
        """Measure the validation loss; the best parameters are kept where that is wanted."""
        run, position = self._run, self._run.position
        position.unvalidated = True
        began = time.perf_counter()
        value = self.evaluate(self._validation)
        self.validating += time.perf_counter() - began
        position.unvalidated = False
        run.history.validations.append(position.step, value)
        self._display.say(f"step {position.step}  validation loss {value:.4f}")
        if hasattr(self.schedule, "observe"):
            self.schedule.observe(value)
        if value < position.best:
            position.best, position.best_step, position.waited = value, position.step, 0
            if self._keep_best:
                if run.best_params is None:
                    run.best_params = np.empty_like(self.net.params.flat)
                run.best_params[...] = self.net.params.flat
        else:
            position.waited += 1

    def _finish(self) -> None:
        """The last checkpoint, the last validation, the best parameters: in this order.

        The file holds the run as it stands, not as it ends, so that it can be gone on with.
        """
        run, position = self._run, self._run.position
        self._save()
        validations = run.history.validations
        measured = int(validations[-1]["step"]) if len(validations) else -1
        if self._validation is not None and measured < position.step:
            self._between = False  # no part of the run: a Ctrl-C from here on leaves the file as it is
            self._validate()
        if self._keep_best and run.best_params is not None:
            self.net.params.flat[...] = run.best_params

    def _save_if_due(self, validated: bool) -> None:
        every = self.checkpoint_every
        if validated if every is None else self._run.position.step % every == 0:
            self._save()

    def _save(self, reason: str = "") -> None:
        """Write the checkpoint if there is a path for it; FloatingPointError if a parameter is not finite."""
        note = f"{reason} after step {self.step}" if reason else ""
        if self.checkpoint is not None:
            if not np.isfinite(self.net.params.flat).all():
                raise FloatingPointError(self._diagnosis(self.step, "the checkpoint is not written"))
            save_checkpoint(self.checkpoint, self._run)
            note += f": checkpoint {os.fspath(self.checkpoint)}" if reason else ""
        if note:
            self._display.say(note)

    def _diagnosis(self, step: int, what: str) -> str:
        """One line: the step, what went wrong, and the first parameter that is not finite."""
        finite = np.isfinite(self.net.params.flat)
        where = "all parameters are finite"
        if not finite.all():
            name = self.net.params.at(int(np.argmin(finite)))
            where = f"the first parameter with values that are not finite is {name!r}"
        return f"step {step}: {what}; {where}"

    @contextmanager
    def _step_clipping(self) -> Iterator[None]:
        """The recurrent layers clip per time step, as ClipStep says, while training lasts."""
        before = [layer.clip_step for layer in self._recurrent]
        for layer in self._recurrent:
            layer.clipped_steps, layer.clipped_factors = 0, 0.0
            if self._step_clips:
                layer.clip_step = min(clipper.threshold for clipper in self._step_clips)
        try:
            yield
        finally:
            for layer, threshold in zip(self._recurrent, before, strict=True):
                layer.clip_step = threshold
