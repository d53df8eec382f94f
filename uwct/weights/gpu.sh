#!/usr/bin/env bash
# Trains both models as they should be, from the root of the repository, on a GPU: vgg16's decoders at full width into
# runs/vgg16, then the model small, distilled from them, into runs/small. On photos/train, tested on photos/test.
# Further options are passed on to every command. Interrupted and started again, it goes on where it was.
set -euo pipefail

train() {
  python train.py --data folder:photos/train --test folder:photos/test --test-count 256 --recipe fast "${@}"
}

vgg16=runs/vgg16/model.safetensors
train --levels 1 --optimizer least-squares --steps 200 --batch 16 --crop 64 "${@}"
train --levels 2 3 --steps 15000 "${@}"
train --levels 4 5 --bridge-steps 5000 --steps 30000 "${@}"

student=runs/student/model.safetensors
train --task distill --init $vgg16 --steps 10000 --judge-steps 30000 --output runs/student "${@}"

own="--backbone $student --init $student --output runs/small"
train --levels 1 --optimizer least-squares --steps 200 --batch 16 --crop 64 $own "${@}"
train --levels 2 3 4 5 --steps 15000 --feature-weight 0.1 $own "${@}"
