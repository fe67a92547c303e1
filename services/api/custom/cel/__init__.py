"""CEL as Kubernetes has it: the engine is cel-cpp, its Kubernetes functions are written here.

cel-cpp stops an expression after 10,000 iterations and matches regular expressions in linear time, so an
expression ends soon whatever it says.
"""
