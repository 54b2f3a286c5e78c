"""Expected embeddings of all-MiniLM-L6-v2, recomputed in float64 from the model's definition.

Reads ../weights (see ../fetch-weights.sh) and writes sentences.json and embeddings.f64.
Needs numpy and tokenizers. README.md tells what the files hold.
"""

import json
import math
import pathlib

import numpy as np
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
WEIGHTS = HERE.parent / "weights"

SENTENCES = [
    "Energy",
    "Hello, world!",
    "A joule is a watt second.",
    "The quick brown fox jumps over the lazy dog.",
    "Ein Kühlschrank verbraucht etwa 150 kWh im Jahr.",
    "How many kilowatt-hours does a refrigerator use in a year?",
    "3.14159 is not exactly π, and 22/7 is not either.",
    "naïve café — “déjà vu”… ¿qué?",
    "机器学习需要很多能量。",
    "C++17's std::optional<T> isn't Rust's Option<T>; both may be empty, though.",
    "😀 emoji and ünïcödé in one line 🚀",
    "WARNING: 42 errors, 7 warnings (0x1F4A9) at 2024-02-29T23:59:59Z!!!",
    "antidisestablishmentarianism and pneumonoultramicroscopicsilicovolcanoconiosis are words of uncommon length",
    "Graphics processors are fast because thousands of small threads wait for memory together.",
    "Wind turbines turned slowly along the ridge while the evening light faded, and the grid frequency stayed at fifty hertz.",
    "To boil one litre of water from room temperature takes about 335 kilojoules, which is less than a tenth of a "
    "kilowatt-hour; the kettle wastes little of it, the stove rather more.",
    "When the compiler had measured every candidate, it kept the three that were within five percent of the fastest, "
    "and of these it chose the one that had drawn the least power from the wall during the test.",
    "My grandmother kept bees. Every spring she walked from hive to hive, listened with her ear against the wood, and "
    "told me which of the colonies would swarm before June. She was seldom wrong, and she never explained how she knew.",
    "The committee met on Tuesday, 14 March, to discuss the budget for the coming year. After four hours of argument "
    "about travel expenses, coffee, and the colour of the new chairs, the members agreed on one thing only: that the "
    "next meeting should be shorter, that it should begin at 9:30 sharp, and that somebody else should take the minutes.",
    "A bridge is never finished. Paint peels and is renewed, rivets loosen and are replaced, traffic grows heavier than "
    "anyone expected, and the river moves its bed a little every year. The engineers who look after it inherit drawings "
    "from people long dead, written in units no longer used, with notes in the margin that begin with the words “do not”. "
    "They learn to trust the notes. In the winter of the great flood the water rose eleven metres in two days, "
    "and the old piers held.",
]


def main() -> None:
    model = Model(WEIGHTS)
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))
    tokenizer.no_padding()  # the file pads everything to 128 tokens, which the attention mask undoes
    entries, embeddings = [], []
    for text in SENTENCES:
        ids = tokenizer.encode(text).ids
        assert len(ids) < 128, "would be truncated"
        entries.append({"text": text, "ids": ids})
        embeddings.append(model.embedding(ids))
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    (HERE / "sentences.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    (HERE / "embeddings.f64").write_bytes(np.array(embeddings).astype("<f8").tobytes())
    print(f"{len(entries)} sentences, {[len(entry['ids']) for entry in entries]} tokens")


class Model:
    """The encoder of BERT, without dropout, followed by mean pooling and normalisation."""

    def __init__(self, folder: pathlib.Path):
        config = json.loads((folder / "config.json").read_text())
        assert config["hidden_act"] == "gelu" and config["position_embedding_type"] == "absolute"
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.epsilon = config["layer_norm_eps"]
        self.weights = read_safetensors(folder / "model.safetensors")

    def embedding(self, ids: list[int]) -> np.ndarray:
        """The sentence of these tokens, all of which count: one vector of length 1."""
        word, position, kind = (self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
        x = self.normalised("embeddings.LayerNorm", word[ids] + position[: len(ids)] + kind[0])
        for layer in range(self.layers):
            x = self.block(f"encoder.layer.{layer}", x)
        mean = x.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def block(self, name: str, x: np.ndarray) -> np.ndarray:
        attended = self.linear(f"{name}.attention.output.dense", self.attention(f"{name}.attention.self", x))
        x = self.normalised(f"{name}.attention.output.LayerNorm", attended + x)
        inner = gelu(self.linear(f"{name}.intermediate.dense", x))
        return self.normalised(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", inner) + x)

    def attention(self, name: str, x: np.ndarray) -> np.ndarray:
        tokens, width = x.shape
        split = lambda y: y.reshape(tokens, self.heads, width // self.heads).transpose(1, 0, 2)
        query, key, value = (split(self.linear(f"{name}.{part}", x)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(width // self.heads)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ value).transpose(1, 0, 2).reshape(tokens, width)

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalised(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + self.epsilon) * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The float32 tensors of a safetensors file, widened: an eight-byte length, a JSON header, the data."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[start:end], "<f4").reshape(entry["shape"]).astype(np.float64)
    return tensors


if __name__ == "__main__":
    main()
