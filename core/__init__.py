"""RadLens' diagnosis library: no Streamlit, no session, no printing.

From the bytes of a file to an explained prediction:

``reading.read_scan`` -> ``Scan`` -> ``preprocessing.to_model_input`` -> ``analysis.analyse`` -> ``Analysis``

``errors`` and ``scan`` are the ground floor. ``windowing`` turns stored values into grey, ``models`` loads networks whose
hash and self-test hold, ``explaining`` computes signed evidence, ``inside`` shows feature maps and filters, ``overlay`` is
the only place with colour, ``metrics`` and ``training`` make the figures on the model cards. ``python -m core`` is the
command line.
"""

import os

# Before torch is first imported: its idle threads shall sleep, not spin. Spinning costs a shared or busy machine forty times the
# time of a small network.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
