"""Who owns which field of an object: field sets, the changes of them, server-side apply.

Pure functions over JSON values (as the codec makes them) and over a Schema, which says where a value is owned
as a whole and where by its parts. Schemas are compiled from descriptors (`descriptors`) or, for custom
resources, from their structural schemas.
"""
