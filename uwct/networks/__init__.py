"""The networks: VGG's encoders and their decoders, what computes their layers fast, and models as files.

From the bottom up: `winograd`, `block_products`, `block_plan`, `convolution_cpu`, `convolution`, `layers`, `vgg`; then
`normalisation`, `published`, which knows what `uwct fetch` brings, and `model`, which joins parameters and config. Of
uwct it imports `files` alone.
"""
