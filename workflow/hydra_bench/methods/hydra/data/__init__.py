"""The images as Hartley coefficients, in the order in which they are kept; nothing here is learned."""
