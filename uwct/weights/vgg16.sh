#!/usr/bin/env bash
# Trains the decoders that ship with uwct, from the root of the repository, on photos/train (8,000 photographs) and
# tested on photos/test; on two CPU cores it takes some five hours. The result, runs/sharp5/model.safetensors, is shipped as
# uwct/weights/vgg16.safetensors. Further options are passed on to every command. (On Linux, an allocator that keeps
# its memory makes steps a quarter faster: LD_PRELOAD=libjemalloc.so.2 MALLOC_CONF=dirty_decay_ms:-1,thp:always.)
set -euo pipefail

train() {
  python train.py --data folder:photos/train --test folder:photos/test --test-count 64 --decoder-width 0.5 \
    --recipe fast --crop 64 --output runs/half "${@}"
}

train --levels 2 --steps 6000 --batch 4 --learning-rate 0.005 "${@}"
train --levels 3 --steps 6000 --batch 4 --learning-rate 0.005 "${@}"
train --levels 1 --steps 100 --batch 16 --optimizer least-squares "${@}"
train --levels 4 --bridge-steps 2000 --steps 3000 --batch 8 --learning-rate 0.004 "${@}"

# On from there: levels 4, 2 and 3 again.
again="--batch 8 --init runs/half/model.safetensors --output runs/half2"
train --levels 4 --steps 6000 $again "${@}"
train --levels 2 --steps 2500 $again "${@}"
train --levels 3 --steps 1800 $again "${@}"

# At last levels 4 and 3 by a perceptual loss, on larger crops, against blur, and level 5 from the better level 4.
sharp="--recipe sharp --batch 2 --crop 192 --save-every 100 --test-count 32"
both="$sharp --feature-weight 0.3 --perceptual-weight 3 --seed 61"
train --levels 4 --steps 1300 $both --init runs/half2/model.safetensors --output runs/sharp4 "${@}"
train --levels 3 --steps 700 $both --init runs/sharp4/model.safetensors --output runs/sharp3 "${@}"
train --levels 5 --bridge-steps 1000 --steps 3000 $sharp --feature-weight 0 --perceptual-weight 4 --seed 65 \
  --init runs/sharp3/model.safetensors --output runs/sharp5 "${@}"
