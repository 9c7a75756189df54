"""CTC-CRF (Xiang and Ou, ICASSP 2019, arXiv:1904.03296) in plain PyTorch.

``model`` alone knows ESPnet; ``arpa``, ``estimate`` and ``lm`` do not import torch.
"""
