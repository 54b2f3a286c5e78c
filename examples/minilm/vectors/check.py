"""Compares embeddings.f64 with the Flax implementation of BERT in the transformers package, in float64.

Independent of make.py but for the weights. It pads to 128 tokens with an attention mask, as most
users of the model do. README.md has the versions it was run with.
"""

import json
import pathlib

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
from transformers import BertConfig, FlaxBertModel, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
WEIGHTS = HERE.parent / "weights"
PADDED = 128


def main() -> None:
    model = FlaxBertModel.from_pretrained(WEIGHTS, config=BertConfig.from_pretrained(WEIGHTS), dtype=jnp.float64)
    model.params = jax.tree_util.tree_map(lambda leaf: leaf.astype(jnp.float64), model.params)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(WEIGHTS / "tokenizer.json"))
    entries = json.loads((HERE / "sentences.json").read_text(encoding="utf-8"))
    expected = np.frombuffer((HERE / "embeddings.f64").read_bytes(), "<f8").reshape(len(entries), -1)
    worst = 0.0
    for entry, row in zip(entries, expected):
        ids = tokenizer(entry["text"], padding=False, truncation=False)["input_ids"]
        assert ids == entry["ids"]
        mask = np.arange(PADDED)[None] < len(ids)
        padded = np.array([ids + [0] * (PADDED - len(ids))])
        hidden = model(input_ids=padded, attention_mask=mask.astype(np.int64), token_type_ids=np.zeros_like(padded)).last_hidden_state
        mean = np.asarray(hidden)[0][mask[0]].mean(axis=0)
        worst = max(worst, np.abs(mean / np.linalg.norm(mean) - row).max())
    print(f"largest difference: {worst:.1e}")
    assert worst < 1e-14


if __name__ == "__main__":
    main()
