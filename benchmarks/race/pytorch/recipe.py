"""The best recipe with PyTorch's arithmetic: the same start, batches and rates; eager, with
scaled_dot_product_attention and fused AdamW. It is no entry of the package: it stands beside."""
import importlib.util
import sys
from pathlib import Path

import torch
import torch._dynamo                                        # the optimizer loads it in any case
import torch.nn.functional as F

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))


def best():
    "The recipe next door, as a module"
    spec = importlib.util.spec_from_file_location("best", HERE.parent / "best" / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights(net):
    "{our path: (their tensor, the slice of it that is ours)}; matrices are transposed"
    found = {"emb.W": net.emb.weight.T, "norm.g": net.norm.weight, "norm.b": net.norm.bias,
             "head.W": net.head.weight}
    for i, b in enumerate(net.blocks):
        q, k, v = b.qkv.weight.split([b.H * b.D, b.K * b.D, b.K * b.D])
        mine = {"norm1.g": b.norm1.weight, "norm1.b": b.norm1.bias, "norm2.g": b.norm2.weight,
                "norm2.b": b.norm2.bias, "attn.q.W": q, "attn.k.W": k, "attn.v.W": v,
                "attn.o.W": b.o.weight, "mlp.up.W": b.up.weight, "mlp.up.b": b.up.bias,
                "mlp.down.W": b.down.weight, "mlp.down.b": b.down.bias}
        found |= {f"blocks.{i}.{name}": w for name, w in mine.items()}
    return found


def recipe(race):
    import theirs
    ours = best()
    run, shape = ours.prepared(race), ours.SHAPE
    torch.set_num_threads(race.cores)
    net, mine = theirs.GPT(run.model.config).train(), run.model.named_parameters()
    with torch.no_grad():
        for path, w in weights(net).items(): w.copy_(torch.as_tensor(mine[path]).t())
    c, longest, begun = run.config, 0.0, race.spent()
    groups = [{"params": [p for p in net.parameters() if (p.ndim > 1) == big], "weight_decay": w}
              for big, w in ((True, c.weight_decay), (False, 0.0))]
    optimizer = torch.optim.AdamW(groups, c.lr, (c.beta1, c.beta2), fused=True)
    while race.left() > 3 * longest + 0.005 * race.seconds:
        x, y = map(torch.as_tensor, run.loader.next())
        for group in optimizer.param_groups: group["lr"] = c.lr * shape(race.past())
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(x).flatten(0, 1), y.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), c.clip)
        optimizer.step()
        now = race.spent()
        longest, begun = max(0.9 * longest, now - begun), now
    for path, w in weights(net).items(): mine[path][...] = w.detach().t().numpy()
    return run.model, run.dataset.tokenizer
