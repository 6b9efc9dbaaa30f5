"""Every estimator at the same parameters: bias, variance and direction against the exact gradient.

A `Setting` holds P points, so that one call measures them all. Gradients are compared with respect to the
weights below the units, which is what a step takes: the Gram matrix of the units' inputs gives their dot
products. If the noise has few outcomes, or is one or two uniforms, means and variances are sums and
integrals; else they come from samples, with standard errors.
"""
