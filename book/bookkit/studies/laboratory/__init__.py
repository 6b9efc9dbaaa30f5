"""Every estimator at the same parameters: bias, variance and direction against the exact gradient.

A `Setting` holds P points, each a loss and a batch of E examples with H units, so that one call measures
them all. What a gradient is there is told by the Gram matrix of the units' inputs: dot products of the
gradients in the weights below the units, which is what a step takes. Where few outcomes make up the
noise, or it is one or two uniforms, means and variances are sums over them and integrals, and nothing
is drawn; else they come from samples, with standard errors.
"""
