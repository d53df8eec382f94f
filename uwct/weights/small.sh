#!/usr/bin/env bash
# Distils the model "small" from the shipped vgg16, its decoders with it, and then solves level 1, from the root of the
# repository, on photos/train (8,000 photographs) and tested on photos/test; on two CPU cores it takes some 80 minutes.
# The result, runs/small/model.safetensors, is shipped as uwct/weights/small.safetensors. Further options are passed on
# to every command. (The shipped file came from the same functions, with a learning rate of 0.006 in the second stage.)
set -euo pipefail

train() {
  python train.py --data folder:photos/train --test folder:photos/test --test-count 64 --recipe fast --batch 8 "${@}"
}

train --task distill --init vgg16 --steps 5000 --judge-steps 7000 --crop 64 --learning-rate 0.01 \
  --output runs/student "${@}"

student=runs/student/model.safetensors
train --levels 1 --optimizer least-squares --steps 200 --batch 16 --crop 64 --backbone $student --init $student \
  --output runs/small "${@}"
