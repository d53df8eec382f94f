#!/usr/bin/env bash
# Trains the model "small", from the root of the repository, on photos/train (8,000 photographs) and tested on
# photos/test: an encoder distilled from the shipped vgg16, its decoders with it; level 1, solved; then, at levels 4, 3
# and 5, encoders of their own that learn with their decoders by a perceptual loss; and at last levels 4 to 1 together, by
# what they paint. On two CPU cores it takes some five hours. The result, runs/paint/model.safetensors, is shipped as
# uwct/weights/small.safetensors. Further options are passed on to every command. Interrupted and started again, it goes
# on where it was. (The shipped file differs: its first part had a learning rate of 0.006 in its second stage; its last
# ran by a forerunner of the task, which scaled features to variance 1 first, had eight paintings among its styles, left
# level 1 out of what is reconstructed, and was stopped after 700 steps.)
set -euo pipefail

train() {
  python train.py --data folder:photos/train --test folder:photos/test --test-count 64 "${@}"
}

train --task distill --init vgg16 --recipe fast --batch 8 --steps 5000 --judge-steps 7000 --crop 64 \
  --learning-rate 0.01 --output runs/student "${@}"

student=runs/student/model.safetensors
train --levels 1 --optimizer least-squares --steps 200 --batch 16 --crop 64 --backbone $student --init $student \
  --output runs/small "${@}"

small=runs/small/model.safetensors
sharp="--task autoencoders --recipe sharp --init $small --critic $small --save-every 1000 --output runs/sharp"
train $sharp --levels 4 --steps 6000 --batch 4 "${@}"
train $sharp --levels 3 --steps 4000 --batch 4 "${@}"
train $sharp --levels 5 --steps 6000 --batch 2 --crop 192 "${@}"

python examples/paintings.py photos/train runs/paintings --count 4000
train --task painters --recipe paint --init runs/sharp/model.safetensors --critic $small \
  --styles folder:runs/paintings --output runs/paint "${@}"
