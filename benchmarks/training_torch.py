"""The training step of `training/` in PyTorch, for `benchmarks.training`: nn.GRU, same head, loss and optimizer.

Its arguments are an .npz file of arrays and the number of threads. For each number on standard input it trains so
many steps and answers with a line of JSON. It needs torch and numpy alone, whatever interpreter has them.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Model(nn.Module):
    """GRU, dropped-out scored rounds, and a linear head with a linear skip; quantiles step away from the middle."""

    def __init__(self, arrays: dict[str, np.ndarray], horizon: int, levels: list[float]) -> None:
        super().__init__()
        inputs, units = arrays["gru_0/kernel"].shape[0], arrays["gru_0/recurrent_kernel"].shape[0]
        self.horizon, self.levels = horizon, levels
        self.gru = nn.GRU(inputs, units, batch_first=True)
        self.output = nn.Linear(units, horizon * len(levels))
        self.skip = nn.Linear(inputs, horizon * len(levels), bias=False)

        def gates(array: np.ndarray) -> torch.Tensor:  # update, reset, candidate to reset, update, candidate
            update, reset, candidate = np.split(array.T, 3)
            return torch.from_numpy(np.concatenate([reset, update, candidate]))

        bias = arrays["gru_0/bias"]
        given = {
            "gru.weight_ih_l0": gates(arrays["gru_0/kernel"]),
            "gru.weight_hh_l0": gates(arrays["gru_0/recurrent_kernel"]),
            "gru.bias_ih_l0": gates(bias[0]),
            "gru.bias_hh_l0": gates(bias[1]),
            "output.weight": torch.from_numpy(arrays["output/kernel"].T.copy()),
            "output.bias": torch.from_numpy(arrays["output/bias"]),
            "skip.weight": torch.from_numpy(arrays["skip/kernel"].T.copy()),
        }
        self.load_state_dict(given)

    def forward(self, inputs: torch.Tensor, scored: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.gru(inputs)
        window = torch.arange(len(inputs))[:, None]
        flat = self.output(hidden[window, scored] * noise) + self.skip(inputs[window, scored])
        free = flat.reshape(*scored.shape, self.horizon, len(self.levels))
        middle = self.levels.index(0.5)
        columns = [free[..., middle]]
        for level in range(middle + 1, len(self.levels)):
            columns.append(columns[-1] + functional.softplus(free[..., level]))
        for level in reversed(range(middle)):
            columns.insert(0, columns[0] - functional.softplus(free[..., level]))
        return torch.stack(columns, -1)


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    file = np.load(sys.argv[1], allow_pickle=False)
    weights = {name[7:]: file[name] for name in file.files if name.startswith("weight:")}
    levels = file["levels"].round(6).tolist()
    inputs, scored, target, weight, noise, rates = (
        torch.from_numpy(file[name]) for name in ("inputs", "scored", "target", "weight", "noise", "rates")
    )
    model = Model(weights, target.shape[-1], levels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, eps=1e-7, weight_decay=0.01)
    mean = [parameter.detach().clone() for parameter in model.parameters()]
    rate_of = torch.tensor(levels)
    taken = 0

    def step() -> float:
        nonlocal taken
        optimizer.param_groups[0]["lr"] = float(rates[taken % len(rates)])
        error = target[..., None] - model(inputs, scored.long(), noise)
        losses = torch.maximum(rate_of * error, (rate_of - 1) * error).mean(-1)
        loss = (losses * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            nn.utils.clip_grad_norm_([parameter], 1.0)
        optimizer.step()
        taken += 1
        with torch.no_grad():
            for kept, parameter in zip(mean, model.parameters()):  # noqa: B905  # torch brings its own, older Python
                kept.lerp_(parameter, max(0.01, 1 / taken))
        return loss.item()

    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        begun = time.perf_counter()
        losses = [step() for _ in range(int(line))]
        print(json.dumps({"seconds": time.perf_counter() - begun, "losses": losses}), flush=True)


if __name__ == "__main__":
    main()
