#!/usr/bin/env bash
# Trains the model "small", from the root of the repository, on photos/train (8,000 photographs) and tested on
# photos/test: an encoder distilled from the shipped vgg16, its decoders with it; level 1, solved; then, at levels 4 and 3,
# encoders of their own that learn with their decoders by a perceptual loss; then levels 4 to 1 together, by what they
# paint, in five stretches; then levels 5 and 4 anew, each from the level before it; levels 4 to 1 together once more;
# and at last the same again: level 4 anew, levels 4 to 1 together, level 5 anew, and level 1 alone. On two CPU cores it
# takes some fourteen hours.
#
# The result, runs/exact/model.safetensors, is shipped as uwct/weights/small.safetensors. Further options are passed on
# to every command. Interrupted and started again, it goes on where it was. (The shipped file differs: its first part
# had a learning rate of 0.006 in its second stage; runs/paint came of a forerunner of the task, which scaled features
# to variance 1 first, had eight paintings among its styles, left level 1 out of what is reconstructed, and was stopped
# after 700 steps; runs/longer was stopped at step 2000, runs/stronger at step 274, runs/lpips at step 2350, runs/deep4
# at step 2750 and runs/deeper at step 400, each of which passed on its average weights; the level 4 of runs/deeper4 is
# that of runs/deep4, trained on to its end, from which the level 5 of runs/deeper5 began. All before runs/lpips learned
# by a forerunner of the loss, which knew photographs by the directions of VGG-16's features and not by LPIPS, and
# scaled its channels, which no judge does: hence their weights. runs/paint and runs/longer learned while the preset
# "paint" had the strengths 1, 0.6, 0.4 and 0.4, the next three while it had 1, 0.7, 0.45 and 0.45, runs/deeper while it
# had 0.9, 0.65, 0.4 and 0.4, and all of these but runs/paint were tested on 16 photographs.)
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

python examples/paintings.py photos/train runs/paintings --count 4000
paint() {
  train --task painters --recipe paint --critic $small --styles folder:runs/paintings --save-every 50 "${@}"
}

weak="--content-weight 0.5 --reconstruction-weight 0.5"
strong="--content-weight 0.45 --reconstruction-weight 0.2"
paint --init runs/sharp/model.safetensors $weak --steps 2000 --learning-rate 5e-5 --output runs/paint "${@}"
paint --init runs/paint/model.safetensors $weak --steps 2600 --learning-rate 8e-5 --output runs/longer "${@}"
paint --init runs/longer/model.safetensors $strong --steps 2400 --learning-rate 2.5e-4 --seed 6 --output runs/stronger "${@}"
paint --init runs/stronger/model.safetensors $strong --steps 500 --learning-rate 2e-4 --seed 8 --output runs/last "${@}"
paint --init runs/last/model.safetensors --seed 11 --output runs/lpips "${@}"

deep="--task autoencoders --recipe sharp --deepen --perceptual-weight 4 --teacher-weight 0.15 --batch 2 --crop 192 \
  --steps 4500 --save-every 250 --test-count 32"
train $deep --init runs/lpips/model.safetensors --levels 5 --seed 31 --output runs/deep5 "${@}"
train $deep --init runs/deep5/model.safetensors --levels 4 --seed 63 --output runs/deep4 "${@}"

learn_to_paint() {
  train --task painters --recipe paint --styles folder:runs/paintings --learning-rate 5e-4 --reconstruction-weight 0.3 \
    --test-count 16 "${@}"
}

learn_to_paint --init runs/deep4/model.safetensors --steps 560 --save-every 80 --seed 71 --output runs/deeper "${@}"
train $deep --init runs/deeper/model.safetensors --levels 4 --seed 63 --output runs/deeper4 "${@}"
learn_to_paint --init runs/deeper4/model.safetensors --steps 1400 --save-every 140 --seed 83 --output runs/deepest "${@}"
train $deep --init runs/deepest/model.safetensors --levels 5 --seed 91 --output runs/deeper5 "${@}"

train --task autoencoders --recipe sharp --init runs/deeper5/model.safetensors --levels 1 --perceptual-weight 1 \
  --teacher-weight 0.15 --learning-rate 5e-4 --batch 2 --crop 192 --steps 1000 --save-every 200 --test-count 32 --seed 17 \
  --output runs/exact "${@}"
