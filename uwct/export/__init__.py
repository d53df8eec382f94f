"""Models as programs for elsewhere: ONNX graphs, StableHLO, and a page that paints in the browser without a server.

`graph` writes ONNX nodes as arithmetic, `roots` and `painting` are the mathematics in it; `stablehlo` asks JAX; `page`
fills a folder for a web server. All compute what `pipeline` does, by matrix products alone: roots by Newton-Schulz,
never by `eigh`.
"""
