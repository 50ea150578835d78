"""The only places that touch torch and mindspore tensors; everything else goes through here."""
