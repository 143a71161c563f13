BUILD_PROFILE: str
__version__: str
