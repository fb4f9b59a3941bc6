"""The kinds of inputs: a good one of each, how it is mutated, and what of the program reads it."""

import contextlib
import io
import json
import pathlib
import re
import shutil
import sys
import typing
import zipfile

import numpy as np
from absl import flags

import dvae.quiet  # noqa: F401
import run_eval
import run_training
import runs
from dvae import config, data, memory
from dvae.data.observed import observed_part
from dvae.errors import UserError
from dvae.evaluation import saved_model
from dvae.evaluation.estimates import RESULTS
from dvae.report import record
from dvae.runs import evaluation_run, exported, needs
from dvae.runs.completed import results_of_complete
from dvae.runs.run_directory import RunDirectory
from dvae.settings.again import settings_of
from dvae.settings.complete import complete
from dvae.tasks import TASKS

FREE = 2**29  # bytes, of the machine that is played
_NASTY = [
    None, True, -1, 0, 3, 2**31, 10**24, 1e308, float("nan"), float("inf"), "", "x", "~nobody/x", "~nobody", "a" * 300,
    "\ud800", "a\0b", "s3://bucket/x", "../../x", [], {}, [[]], {"a": 1}, ["x"] * 9, "digits", "1,2", 0.5,
]  # fmt: skip
_TEXTS = [
    "", "x", "~nobody", "~nobody/x.npz", "a" * 300, "a" * 300 + ".npz", "\udcff", "\udcff.npz", "a\0b", "-1", "0", "3",
    "2147483648", "1" * 30, "1" * 5000, "nan", "inf", "1e999", "1e-999", "0x10", "1_0", "٣", "true", "None", "[]",
    "1,2", "1,,2", "s3://x/y.npz", "x\ny", "\x1b[31m", "/dev/null", "/proc/self/mem", "/", ".", "digits", "top",
    "1000000000",
]  # fmt: skip


_SHAPES = [
    "(10**12, 16)", "(1000000000000, 16)", "(9**9**9, 1)", "(4611686018427387904, 4)", "(-1, 16)", "(1000000, 1000000)",
    "__import__('os')", "(True, 16)", "(1e3, 16)", "(16)",
]  # fmt: skip


_CHOICES = {"model": config.MODELS, "objective": config.OBJECTIVES, "recipe": config.RECIPES}


class Kind(typing.NamedTuple):
    """Attributes: a `good` input; `mutate(rng, good)`; `run(input)`, which is content or raises one of `refusals`."""

    good: typing.Any
    mutate: typing.Callable
    run: typing.Callable
    refusals: tuple = (UserError,)

    def __hash__(self):
        return id(self.run)


def cases(folder):
    """All kinds, by name."""
    memory.available = lambda: FREE
    run, task = _small_run(folder / "run")
    model = folder / "run" / "saved_model"
    loaded = saved_model.load(model)
    return {
        "npz": _npz(folder),
        "mask": _mask(folder, task.dataset),
        "config": _config(run, task),
        "again": _again(run),
        "metrics": _metrics(run),
        "results": _results(run, task),
        "origin": _origin(folder / "origin", model, loaded.functions),
        "checkpoint": _checkpoint(folder / "checkpoints", run, task),
        "saved_model": _saved_model(folder / "exported", model),
        "flags": _flags(folder),
    }


# How inputs are mutated.


def mutate_bytes(rng, content):
    """Flips, cuts, zeroes, repeats or replaces."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        if not content:
            return bytes(content)
        start = rng.randrange(len(content))
        end = min(len(content), start + rng.choice([1, 4, 16, 1000]))
        match rng.randrange(6):
            case 0:
                content[start] ^= 1 << rng.randrange(8)
            case 1:
                del content[start:]
            case 2:
                content[start:end] = bytes(end - start)
            case 3:
                content[start:end] = rng.randbytes(end - start)
            case 4:
                content[start:start] = content[start:end]
            case 5:
                del content[start:end]
    return bytes(content)


def mutate_json(rng, text):
    """Other values, keys that are missing or new, deep nesting, NaN; or bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, text.encode())
    if rng.random() < 0.05:
        deep = rng.choice(["[", '{"a":']) * rng.choice([100, 100_000])
        return rng.choice([deep, text.rstrip()[:-1] + ', "deep": ' + deep]).encode()
    content = json.loads(text)
    for _ in range(rng.choice([1, 1, 2, 4])):
        place = content
        while isinstance(place, dict) and place:
            key = rng.choice(list(place))
            if not isinstance(place[key], dict) or not place[key] or rng.random() < 0.3:
                break
            place = place[key]
        if not isinstance(place, dict) or not place:
            continue
        match rng.randrange(4):
            case 0:
                del place[key]
            case 1:
                place[rng.choice(["new", "", "\ud800"])] = rng.choice(_NASTY)
            case _:
                place[key] = rng.choice(_NASTY)
    return json.dumps(rng.choice([content] * 19 + [rng.choice(_NASTY)])).encode()


# The kinds.


def _npz(folder):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2, [30, 16]).astype(np.uint8)
    path = folder / "input.npz"

    def archive(arrays, compressed=True):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as made:
            for name, content in arrays.items():
                made.writestr(f"{name}.npy", content)
        return file.getvalue()

    def array(value):
        file = io.BytesIO()
        np.lib.format.write_array(file, np.asarray(value), allow_pickle=True)
        return file.getvalue()

    good = {"train": array(rows), "valid": array(rows[:9]), "test": array(rows[:8])}
    head = array(np.zeros([1, 16], np.uint8))[:128].replace(b"(1, 16)", b"(%d, 16)")
    bomb = io.BytesIO()  # 480 MiB of zeros, which would take three times that
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for name, content in good.items():
            if name != "train":
                made.writestr(f"{name}.npy", content)
        with made.open("train.npy", "w", force_zip64=True) as member:
            count = 31_457_280  # times 16
            member.write((head % count).replace(b" \n", b"\n")[:128].ljust(128))
            for _ in range(30):
                member.write(bytes(2**24))

    def mutate(rng, good):
        arrays = dict(good)
        name = rng.choice(list(arrays))
        values = np.random.default_rng(rng.randrange(2**32))
        match rng.randrange(8):
            case 0:
                dtype = rng.choice(["?", "i1", "u8", "f2", ">f8", "c8", "U3", "S2", "M8[s]", "O", "V5", "f4"])
                shape = rng.choice([(), (5,), (5, 16), (0, 16), (5, 4, 4), (5, 4, 4, 1), (5, 2, 8), (1,) * 20])
                arrays[name] = array(values.integers(0, 2, shape).astype(dtype))
            case 1:
                numbers = values.random([5, 16]) * rng.choice([1, 2, 255, -1, 1e30])
                numbers[rng.randrange(5), 3] = rng.choice([np.nan, np.inf, -np.inf, 1.0000001, 0])
                arrays[name] = array(numbers)
            case 2:
                shape = rng.choice(_SHAPES)
                arrays[name] = re.sub(rb"\(\d+, 16\)", shape.encode(), arrays[name])
            case 3:
                del arrays[name]
            case 4:
                return bomb.getvalue() if rng.random() < 0.2 else archive({f"../{name}": arrays.pop(name), **arrays})
            case 5:
                arrays[name] = mutate_bytes(rng, arrays[name])
            case _:
                return mutate_bytes(rng, archive(arrays, compressed=rng.random() < 0.5))
        return archive(arrays)

    def run(content):
        path.write_bytes(content if isinstance(content, bytes) else archive(content))
        data.load_dataset(str(path), folder)

    return Kind(good, mutate, run)


def _mask(folder, dataset):
    path, file = folder / "mask.npy", io.BytesIO()
    np.save(file, np.arange(16).reshape(4, 4) < 8)

    def run(content):
        path.write_bytes(content)
        observed_part(str(path), dataset)

    def mutate(rng, good):
        if rng.random() < 0.3:
            shape = rng.choice(["(10**12,)", "(4, 40000000000)", "(-4, -4)", "(4, 4, 1)", "()", "(16,)"])
            return good.replace(b"(4, 4)", shape.encode())
        return mutate_bytes(rng, good)

    return Kind(file.getvalue(), mutate, run)


def _small_run(folder):
    """A run with all its files, without a step of training: nothing is compiled."""
    task_config = runs.small_config(model="pwl", hidden_layers=0, num_steps=100, log_dir=str(folder))
    run = runs.open_run(task_config, folder)
    for step in (80, 100):
        run.checkpoints.save(step)
    run.directory.release()
    origin = {"settings": vars(task_config), "checksum": run.dataset.checksum, "step": 100, "seconds": 1.5}
    saved_model.save(run.directory.saved_model, run.state.model, run.functions, run.draw_settings, origin=origin)
    results = dict.fromkeys(RESULTS) | {"model": "pwl", "split": "test", "num_examples": 32, "nll": 7.25, "step": 100}
    run.directory.results_file.write_text(json.dumps(results))
    lines = [{"step": step, "group": group, "nll": 8.5} for step in (50, 100) for group in ("train", "valid")]
    run.directory.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run, run.task


def _rewriting(path, read):
    """A file's text, and a function that reads a mutated one in its place."""
    good = path.read_text()

    def run(content):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            read()
        finally:
            path.write_text(good)

    return good, run


def _config(run, task):
    def read():
        directory = RunDirectory(run.directory.path)
        record.read(directory.path)
        try:
            directory.open(task, resume=True, say=lambda _: None)
        finally:
            directory.release()

    good, rewritten = _rewriting(run.directory.config_file, read)
    return Kind(good, mutate_json, rewritten)


def _again(run):
    """The same file, given to `--config`."""
    good, rewritten = _rewriting(
        run.directory.config_file, lambda: complete(settings_of(str(run.directory.config_file)))
    )
    return Kind(good, mutate_json, rewritten)


def _metrics(run):
    def read():
        # A training goes on whatever is in its log; a report may say that it is damaged.
        run.directory.forget_metrics_after({"train": 100, "valid": 50})
        for line in run.directory.metrics_file.read_text().splitlines():
            json.loads(line)
        record.read(run.directory.path)

    good, rewritten = _rewriting(run.directory.metrics_file, read)

    def mutate(rng, good):
        lines = good.splitlines()
        number = rng.randrange(len(lines))
        content = [line.encode() for line in lines]
        content[number] = mutate_json(rng, lines[number])
        return b"\n".join(content) + rng.choice([b"\n", b"", b"\r\n", b"\n\n"])

    return Kind(good, mutate, rewritten)


def _results(run, task):
    def read():
        results_of_complete(run.directory, task.likelihood_of, lambda _: None)  # damaged ones are made again
        record.read(run.directory.path)

    good, rewritten = _rewriting(run.directory.results_file, read)
    return Kind(good, mutate_json, rewritten)


def _origin(folder, model, functions):
    shutil.copytree(model / "assets.extra", folder / "assets.extra")

    def read():
        origin = saved_model.read_origin(folder)
        before = set(pathlib.Path.cwd().iterdir())
        exported.Exported(folder, functions, origin, data_dir=str(folder)).data()
        assert set(pathlib.Path.cwd().iterdir()) == before

    good, rewritten = _rewriting(folder / "assets.extra" / "run.json", read)

    def mutate(rng, good):
        content = json.loads(good)
        content["settings"] = {name: content["settings"][name] for name in ("model", "dataset", "data_dir", "seed")}
        return mutate_json(rng, json.dumps(content))

    return Kind(good, mutate, rewritten, (UserError, OSError, ValueError))  # `load` tells of these as one line


def _contents(folder):
    """The bytes of every file of a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _put(folder, files):
    """Makes the folder one of these files, without those that are None."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, content in files.items():
        if content is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


def _checkpoint(folder, run, task):
    good = _contents(run.directory.checkpoints)

    def mutate(rng, good):
        path = rng.choice(sorted(good))
        how = mutate_json if path.endswith(".json") else mutate_bytes
        content = good[path].decode() if path.endswith(".json") else good[path]
        return good | {path: how(rng, content) if rng.random() < 0.9 else None}

    def read(files):
        _put(folder, files)
        run.checkpoints.folder = folder
        said = []
        run.checkpoints.restore(said.append)
        assert not run.state.not_finite()
        if files != good and said:
            assert len(said) == 1  # only the damaged one
            assert [path.name for path in folder.glob("*.damaged")] == [
                pathlib.Path(said[0].partition(":")[0]).name + ".damaged"
            ]

    return Kind(good, mutate, read)


def _saved_model(folder, model):
    def mutate(rng, good):
        path = rng.choice(sorted(good))
        return good | {path: mutate_bytes(rng, good[path]) if rng.random() < 0.9 else None}

    def read(files):
        _put(folder, files)
        saved_model.load(folder)

    return Kind(_contents(model), mutate, read)


class _FlagsRefused(Exception):
    """What was printed on stderr before an exit status of 2."""


def _flags(folder):
    """The command lines, up to where a model would be built or loaded."""
    from dvae.report import training  # noqa: PLC0415

    def checked(given, **_):
        dataset = data.load_dataset(given.dataset, given.data_dir)
        task = TASKS[given.objective](given, dataset)
        data.BatchOrder(num_examples=len(dataset.train), batch_size=given.batch_size, seed=given.seed)
        RunDirectory(given.log_dir)
        needs.check_memory(task)

    def no_model(*_, **__):
        raise UserError("enough is seen")

    training.train = checked
    evaluation_run.exported = no_model
    fields = {
        run_training: [*config.Config.__dataclass_fields__, "resume", "report", "helpshort", "v"],
        run_eval: [
            *config.EvaluationSettings.__dataclass_fields__,
            *"log_dir saved_model dataset data_dir split protocol output examples_output scheduler".split(),
        ],
    }
    good = (run_training, [f"--log_dir={folder / 'flags'}"])

    def mutate(rng, good):
        program = rng.choice([run_training, run_training, run_eval])
        arguments = [f"--log_dir={folder / 'flags'}"]
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            name = rng.choice(fields[program])
            names = _CHOICES.get(name)
            value = rng.choice(names) if names and rng.random() < 0.7 else rng.choice(_TEXTS)
            arguments.append(rng.choice([f"--{name}={value}"] * 8 + [f"--{name}", f"--no{name}", value, f"-{value}"]))
        if program is run_eval and rng.random() < 0.5:
            arguments[0] = "--saved_model=x"
        return program, arguments

    def run(given):
        program, arguments = given
        before = set(flags.FLAGS)
        said, sys.argv = io.StringIO(), [f"{program.__name__}.py", *arguments]
        status = None
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                program.cli()
        except SystemExit as stop:
            status = stop.code
        finally:
            for name in (set(flags.FLAGS) - before) | {"log_dir"}:
                if name in flags.FLAGS:
                    delattr(flags.FLAGS, name)
        if status:
            if status != 2:
                raise RuntimeError(f"status {status}: {said.getvalue()}")
            raise _FlagsRefused(said.getvalue().removesuffix("\n"))

    return Kind(good, mutate, run, (_FlagsRefused,))
