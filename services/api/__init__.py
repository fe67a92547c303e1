"""The object model: kinds, codec, defaulting, validation, selectors, quantities, patches, printers."""
