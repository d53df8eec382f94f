#!/usr/bin/env bash
# Trains the decoders that ship with uwct, from the root of the repository, on photos/train (8,000 photographs) and
# tested on photos/test; on two CPU cores it takes some six hours. The result, runs/lpips3/model.safetensors, is shipped as
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

# Then levels 4 and 3 by a perceptual loss, on larger crops, against blur, and level 5 from the better level 4.
sharp="--recipe sharp --batch 2 --crop 192 --save-every 100 --test-count 32"
both="$sharp --feature-weight 0.3 --perceptual-weight 3 --seed 61"
train --levels 4 --steps 1300 $both --init runs/half2/model.safetensors --output runs/sharp4 "${@}"
train --levels 3 --steps 700 $both --init runs/sharp4/model.safetensors --output runs/sharp3 "${@}"
train --levels 5 --bridge-steps 1000 --steps 3000 $sharp --feature-weight 0 --perceptual-weight 4 --seed 65 \
  --init runs/sharp3/model.safetensors --output runs/sharp5 "${@}"

# At last levels 5, 4 and 3 by LPIPS too, against what blur is left.
lpips="--recipe sharp --batch 2 --crop 192 --test-count 32 --feature-weight 0 --perceptual-weight 1 --lpips-weight 5"
train --levels 5 --steps 3000 $lpips --learning-rate 0.002 --save-every 250 --seed 101 \
  --init runs/sharp5/model.safetensors --output runs/lpips5 "${@}"
train --levels 4 --steps 1800 $lpips --save-every 200 --seed 102 \
  --init runs/lpips5/model.safetensors --output runs/lpips4 "${@}"
train --levels 3 --steps 600 $lpips --learning-rate 0.001 --save-every 150 --seed 103 \
  --init runs/lpips4/model.safetensors --output runs/lpips3 "${@}"
