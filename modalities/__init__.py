"""How each kind of media is made: text encoders, generators, codecs, training. See docs/architecture.md."""

from modalities.native_audio import install

install()
