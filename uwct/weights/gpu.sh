#!/usr/bin/env bash
# Trains both models on, on a GPU, from the root of the repository: vgg16's decoders at full width into runs/vgg16 (and
# its level 3, trained on, into runs/vgg16-sharp), and small, in batches that are large there, into runs/deep (level 5) and
# runs/small (what it paints). On photos/train, tested on photos/test. Further options are passed on to every command.
# Interrupted and started again, it goes on where it was.
set -euo pipefail

train() {
  python train.py --data folder:photos/train --test folder:photos/test --test-count 256 "${@}"
}

train --recipe fast --levels 1 --optimizer least-squares --steps 200 --batch 16 --crop 64 "${@}"
train --recipe fast --levels 2 3 --steps 15000 "${@}"
train --recipe sharp --levels 4 5 --bridge-steps 5000 --steps 8000 \
  --feature-weight 0 --perceptual-weight 1 --lpips-weight 5 --crop 192 "${@}"
train --recipe sharp --levels 3 --steps 2000 --learning-rate 0.001 --init runs/vgg16/model.safetensors \
  --feature-weight 0 --perceptual-weight 1 --lpips-weight 5 --crop 192 --output runs/vgg16-sharp "${@}"

train --task autoencoders --recipe sharp --levels 5 --deepen --init small --perceptual-weight 4 --teacher-weight 0.15 \
  --batch 32 --crop 256 --steps 8000 --output runs/deep "${@}"

[ -d runs/paintings ] || python examples/paintings.py photos/train runs/paintings --count 4000
train --task painters --recipe paint --init runs/deep/model.safetensors --styles folder:runs/paintings \
  --batch 16 --crop 256 --steps 10000 --learning-rate 1e-3 --reconstruction-weight 0.3 --output runs/small "${@}"
