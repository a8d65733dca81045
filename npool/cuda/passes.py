"""placeholder"""
class Passes:
    def __init__(self,*a): raise NotImplementedError
