#!/usr/bin/env bash
# Trains the decoders that ship with uwct, from the root of the repository, on photos/train (8,000 photographs) and
# tested on photos/test; on two CPU cores it takes about an hour and a half. The result goes to runs/half and is
# shipped as uwct/weights/vgg16.safetensors. Further options are passed on to every command.
set -euo pipefail

train() {
  python train.py --data folder:photos/train --test folder:photos/test --decoder-width 0.5 --crop 64 \
    --output runs/half "${@}"
}

muon="--optimizer muon"
train --levels 2 --steps 6000 --batch 4 $muon --learning-rate 0.005 "${@}"
train --levels 3 --steps 6000 --batch 4 $muon --learning-rate 0.005 "${@}"
train --levels 1 --steps 100 --batch 16 --optimizer least-squares "${@}"
train --levels 4 --bridge-steps 2000 --steps 3000 --batch 8 $muon --learning-rate 0.004 "${@}"
train --levels 5 --bridge-steps 3000 --steps 2500 --batch 8 $muon --learning-rate 0.004 "${@}"
