"""torch_speed.py HIDDEN FFN LAYERS HEADS KV_HEADS HEAD_DIM VOCAB TIED T BATCH STEPS
Tokens/s of transformers' Llama of that shape in PyTorch on this GPU: bfloat16 weights,
fused AdamW, SDPA attention, the same rows of T tokens. Prints one JSON line."""
import json
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

h, f, layers, heads, kv, dim, v, tied, t, batch, steps = map(int, sys.argv[1:])
config = LlamaConfig(vocab_size=v, hidden_size=h, intermediate_size=f,
                     num_hidden_layers=layers, num_attention_heads=heads,
                     num_key_value_heads=kv, head_dim=dim, tie_word_embeddings=bool(tied),
                     max_position_embeddings=t, attn_implementation="sdpa")
with torch.device("cuda"):
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(config)
opt = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
ids = torch.randint(0, v, (batch, t), device="cuda")
took = []
for step in range(steps):
    torch.cuda.synchronize()
    t0 = time.perf_counter()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    opt.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    took.append(time.perf_counter() - t0)
took = sorted(took[2:])
print(json.dumps({"tokens_per_s": batch * t / took[len(took) // 2],
                  "torch": torch.__version__, "loss": float(loss),
                  "peak_gb": torch.cuda.max_memory_allocated() / 1e9}))
