# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # Find an encoder in ten minutes on a laptop
#
# A speech encoder is a stack of layers. Which layers are best depends on your data and
# on how large the encoder may be. Usually people find out by training many encoders.
# Here we train *one* network that contains 4096 encoders, and ask it.
#
# You need no GPU and no corpus: we let a speech synthesiser read digits to us.
# `pip install '.[demo,notebook]'` in a clone installs all that is used.

# %%
import os
import random
import sys
from pathlib import Path

import jiwer
import matplotlib.pyplot as plt
import soundfile
import torch
import torchaudio

import espnet_stnas as stnas
from espnet_stnas.cli.demo import copy_recipe
from espnet_stnas.cost.counts import parameter_table
from espnet_stnas.supernet.paths import on_paths

# With STNAS_QUICK=1, all of this takes seconds; then the results mean nothing.
QUICK = "STNAS_QUICK" in os.environ
SEARCH_STEPS, TRAINING_STEPS = (6, 3) if QUICK else (540, 240)
MINUTES = (0.3, 0.1, 0.1) if QUICK else (10.0, 2.0, 4.0)
SEED = 0
torch.manual_seed(SEED)
torch.set_num_threads(1)  # networks of this size gain nothing from more

# %% [markdown]
# ## Speech
#
# The recipe of this package makes a corpus of digit strings: many voices, noise, and
# voices in the test set that are not in the training set.

# %%
if not Path("stnas_tutorial/run.sh").exists():
    copy_recipe(Path("stnas_tutorial"))
sys.path.insert(0, "stnas_tutorial/local")
from digit_corpus import DigitOptions, prepare  # noqa: E402

prepare(
    DigitOptions(
        variant="hard",
        data=Path("stnas_tutorial/data"),
        train_minutes=MINUTES[0],
        dev_minutes=MINUTES[1],
        test_minutes=MINUTES[2],
    )
)

# %% [markdown]
# Features are 40 log mel energies every 10 ms, with mean and variance normalised over
# each utterance. The letters of the digits' names are the outputs, after the blank of
# CTC.

# %%
LETTERS = "_ efghinorstuvwxz"
mel = torchaudio.transforms.MelSpectrogram(8000, 256, 200, 80, n_mels=40)


def read(part):
    """Utterances of a part of the corpus: frames (T, 40), tokens (U,) and text."""
    folder = Path("stnas_tutorial/data") / part
    texts = dict(line.split(" ", 1) for line in (folder / "text").open())
    utterances = []
    for line in (folder / "wav.scp").open():
        name, wav = line.split()
        path = Path(wav) if Path(wav).exists() else folder / wav
        audio, _ = soundfile.read(path, dtype="float32")
        frames = (mel(torch.from_numpy(audio)).T + 1e-6).log()
        frames = (frames - frames.mean(0)) / frames.std(0)
        text = texts[name].strip()
        tokens = torch.tensor([LETTERS.index(letter) for letter in text])
        utterances.append((frames, tokens, text))
    return utterances


def batches_of(utterances, frames=5000):
    """Batches of utterances of similar length, padded with zeros."""
    groups = [[]]
    for utterance in sorted(utterances, key=lambda u: len(u[0])):
        if groups[-1] and (len(groups[-1]) + 1) * len(utterance[0]) > frames:
            groups.append([])
        groups[-1].append(utterance)
    pad = torch.nn.utils.rnn.pad_sequence
    return [
        (
            pad([u[0] for u in group], batch_first=True),
            torch.tensor([len(u[0]) for u in group]),
            pad([u[1] for u in group], batch_first=True),
            torch.tensor([len(u[1]) for u in group]),
            [u[2] for u in group],
        )
        for group in groups
    ]


corpus = {part: read(part) for part in ("train", "dev", "test")}
print({part: len(utterances) for part, utterances in corpus.items()})
frames, _, text = corpus["train"][0]
plt.figure(figsize=(9, 2))
plt.imshow(frames.T, origin="lower", aspect="auto")
plt.title(text)
plt.xlabel("frames of 10 ms")
plt.ylabel("mel band")
plt.show()

# %% [markdown]
# ## The search space
#
# Six layers are open. Each may see one or two frames to each side (`C1`, `C2`), next to
# each other or every second one (`D1`, `D2`). In the middle, a fixed layer keeps one
# frame in three. That makes 4 x 4 x 4 x 4 x 4 x 4 = 4096 encoders.

# %%
choice = ["tdnn-C1D1", "tdnn-C1D2", "tdnn-C2D1", "tdnn-C2D2"]
space = stnas.SearchSpace.from_conf(
    {
        "width": 64,
        "dropout_rate": 0.1,
        "residual": True,
        "layers": [choice, choice, choice, "tdnn-C1S3D1", choice, choice, choice],
    }
)
sizes = parameter_table(space, input_size=40)
print(f"{space.num_architectures:,} encoders with {sizes.minimum:,.0f} to", end=" ")
print(f"{sizes.maximum:,.0f} parameters")

# %% [markdown]
# ## One training for all of them
#
# The *supernet* contains all candidates of all layers. Each step runs one path through
# it, so it costs about as much as a step of one encoder. In the first half, paths are
# drawn uniformly. In the second half, *architecture steps* on other utterances learn
# which candidates lower the loss: they change the probabilities with which paths are
# drawn.


# %%
def new_model(encoder):
    """An encoder with a CTC output."""
    output = torch.nn.Linear(64, len(LETTERS))
    return torch.nn.ModuleDict({"encoder": encoder, "output": output})


def ctc(model, batch):
    """The CTC loss () of a batch."""
    frames, lengths, tokens, token_lengths, _ = batch
    encoded, lengths = model["encoder"](frames, lengths)
    log_p = model["output"](encoded).log_softmax(-1).transpose(0, 1)
    loss = torch.nn.functional.ctc_loss(
        log_p, tokens, lengths, token_lengths, reduction="sum", zero_infinity=True
    )
    return loss / len(frames)


def rate(step, steps, highest=0.004):
    """A learning rate that rises, then falls to zero."""
    return highest * min((step + 1) / (0.1 * steps), 1.0) * (1 - step / steps)


supernet = stnas.build_supernet(space, input_size=40)
model = new_model(supernet)
logits = list(supernet.logits)
weights = [p for p in model.parameters() if all(p is not a for a in logits)]
weight_optimizer = torch.optim.Adam(weights)
logit_optimizer = torch.optim.Adam(logits, lr=0.01)
uniform, straight_through = map(stnas.build_estimator, ("uniform", "st"))
generator = torch.Generator().manual_seed(SEED)
shuffled = random.Random(SEED).sample(corpus["train"], len(corpus["train"]))
fifth = len(shuffled) // 5
for_weights, for_logits = batches_of(shuffled[fifth:]), batches_of(shuffled[:fifth])
losses, probabilities = [], []
draws = random.Random(SEED)
for step in range(SEARCH_STEPS):
    searching = step >= SEARCH_STEPS // 2
    if searching:
        batch = draws.choice(for_logits)
        stnas.architecture_step(
            model,
            lambda batch=batch: ctc(model, batch),
            straight_through,
            logit_optimizer,
            generator,
        )
    for group in weight_optimizer.param_groups:
        group["lr"] = rate(step, SEARCH_STEPS)
    batch = draws.choice(for_weights)
    loss = stnas.weight_step(
        model,
        lambda batch=batch: ctc(model, batch),
        straight_through if searching else uniform,
        weight_optimizer,
        generator,
    )
    losses.append(float(loss))
    probabilities.append([pi.tolist() for pi in supernet.probabilities()])

# %%
figure, axes = plt.subplots(2, 4, figsize=(12, 5), sharex=True)
axes = axes.flatten()
axes[0].plot(losses, color="0.3", linewidth=0.7)
axes[0].set_title("loss of the weight steps")
for layer in range(6):
    axis = axes[layer + 1]
    for k, name in enumerate(choice):
        axis.plot([pi[layer][k] for pi in probabilities], label=name)
    axis.set_title(f"choice {layer + 1}")
    axis.set_ylim(0, 1)
axes[7].axis("off")
axes[7].legend(*axes[1].get_legend_handles_labels(), loc="center")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Ask it: which encoder of which size?
#
# Every path of the supernet can be measured at once, without training. We draw some
# encoders at random and measure their loss on the dev set. Common first layers are
# computed only once.

# %%
paths = [
    tuple(draws.randrange(4) for _ in range(6)) for _ in range(8 if QUICK else 400)
]
paths.append(tuple(int(pi.argmax()) for pi in supernet.probabilities()))
dev_losses = [0.0] * len(paths)
for frames, lengths, tokens, token_lengths, _ in batches_of(corpus["dev"], 20000):

    def loss_of(encoded, lengths, tokens=tokens, token_lengths=token_lengths):
        """The loss of one path on this batch, from its encoded frames."""
        log_p = model["output"](encoded).log_softmax(-1).transpose(0, 1)
        return float(
            torch.nn.functional.ctc_loss(
                log_p, tokens, lengths, token_lengths, reduction="sum"
            )
        )

    for number, loss in enumerate(on_paths(supernet, paths, frames, lengths, loss_of)):
        dev_losses[number] += loss / len(corpus["dev"])
parameters = [sizes.of(path) for path in paths]
limit = 0.85 * sizes.maximum
fitting = [n for n, size in enumerate(parameters) if size <= limit]
best = min(fitting, key=lambda n: dev_losses[n])
plt.figure(figsize=(6, 4))
plt.scatter(parameters, dev_losses, s=8, color="0.6", label="measured")
plt.scatter(parameters[-1], dev_losses[-1], marker="D", label="most probable")
plt.scatter(parameters[best], dev_losses[best], marker="*", s=120, label="best, 85 %")
plt.axvline(limit, color="0.8", linewidth=1)
plt.xlabel("parameters")
plt.ylabel("dev loss with shared weights")
plt.legend()
plt.show()

# %% [markdown]
# ## Is it better than chance?
#
# We train the best encoder within the limit, and two random encoders of equal size for
# comparison. All start from scratch and are trained in the same way.


# %%
def train(path):
    """Train one encoder; return its word error rate on the test set in percent."""
    torch.manual_seed(SEED)
    model = new_model(stnas.build_network(space.resolve(path), input_size=40))
    optimizer = torch.optim.Adam(model.parameters())
    batches = batches_of(corpus["train"])
    draws = random.Random(SEED)
    for step in range(TRAINING_STEPS):
        optimizer.param_groups[0]["lr"] = rate(step, TRAINING_STEPS)
        optimizer.zero_grad()
        ctc(model, draws.choice(batches)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    said, found = [], []
    model.eval()
    with torch.no_grad():
        for frames, lengths, _, _, texts in batches_of(corpus["test"], 20000):
            encoded, lengths = model["encoder"](frames, lengths)
            for row, length in zip(model["output"](encoded), lengths, strict=True):
                best = torch.unique_consecutive(row[:length].argmax(-1)).tolist()
                found.append("".join(LETTERS[t] for t in best if t))
            said += texts
    return 100 * jiwer.wer(said, found)


equal = [
    path
    for path, size in zip(paths, parameters, strict=True)
    if abs(size - parameters[best]) <= 0.03 * parameters[best] and path != paths[best]
]
compared = {"searched": paths[best]}
compared |= {f"random {n}": path for n, path in enumerate(equal[:2], start=1)}
errors = {name: train(path) for name, path in compared.items()}
for name, path in compared.items():
    operations = " ".join(choice[k] for k in path)
    print(f"{name:10} {errors[name]:6.1f} % word errors  {operations}")
plt.figure(figsize=(5, 1.5))
plt.barh(list(errors), list(errors.values()))
plt.xlabel("word errors on the test set, %")
plt.gca().invert_yaxis()
plt.show()

# %% [markdown]
# One training of each says little: another seed may change the order. `stnas verify`
# trains several, with several seeds, and prints intervals. See [what was found on more
# data](../ranking.md#what-a-search-gains-at-equal-size).
#
# ## Keep it
#
# An architecture is a small file. Any ESPnet recipe can [use
# it](../using_architectures.md).

# %%
architecture = stnas.Architecture(space.resolve(paths[best]))
architecture.write("stnas_tutorial/architecture.yaml")
print(Path("stnas_tutorial/architecture.yaml").read_text())
