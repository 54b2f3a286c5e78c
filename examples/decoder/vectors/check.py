"""Compares f16.f64 with the Flax implementation of a LLaMA layer in the transformers package, in float64.

Independent of make.py but for tokens and weights. README.md has the versions it was run with.
"""

import pathlib

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
from transformers import LlamaConfig
from transformers.models.llama.modeling_flax_llama import FlaxLlamaDecoderLayer

from make import EPSILON, FEATURES, GROUPS, HEAD, HEADS, INNER, THETA, TOKENS, tensor

HERE = pathlib.Path(__file__).parent


def main() -> None:
    config = LlamaConfig(
        hidden_size=FEATURES,
        intermediate_size=INNER,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        rms_norm_eps=EPSILON,
        rope_theta=THETA,
        max_position_embeddings=2048,
    )
    kernel = lambda number, rows, columns, scale: {"kernel": jnp.asarray(tensor(number, (rows, columns), 0.0, scale).T)}
    gain = lambda number: {"weight": jnp.asarray(tensor(number, (FEATURES,), 1.0, 0.25))}
    parameters = {
        "input_layernorm": gain(1),
        "self_attn": {
            "q_proj": kernel(2, HEADS * HEAD, FEATURES, 0.125),
            "k_proj": kernel(3, GROUPS * HEAD, FEATURES, 0.125),
            "v_proj": kernel(4, GROUPS * HEAD, FEATURES, 0.125),
            "o_proj": kernel(5, FEATURES, HEADS * HEAD, 0.0625),
        },
        "post_attention_layernorm": gain(6),
        "mlp": {
            "gate_proj": kernel(7, INNER, FEATURES, 0.0625),
            "up_proj": kernel(8, INNER, FEATURES, 0.0625),
            "down_proj": kernel(9, FEATURES, INNER, 0.0625),
        },
    }
    tokens = jnp.asarray(tensor(0, (1, TOKENS, FEATURES), 0.0, 1.0))
    output = FlaxLlamaDecoderLayer(config, dtype=jnp.float64).apply(
        {"params": parameters},
        tokens,
        attention_mask=jnp.ones((1, TOKENS), jnp.int32),
        position_ids=jnp.arange(TOKENS)[None],
    )[0]
    expected = np.frombuffer((HERE / "f16.f64").read_bytes(), "<f8").reshape(TOKENS, FEATURES)
    worst = np.abs(np.asarray(output)[0] - expected).max()
    print(f"largest difference: {worst:.1e}")
    assert worst < 1e-5, "more than float32 explains"


if __name__ == "__main__":
    main()
