# about: the tester is not exempted from PerSourcePenalties (differs from stock on generation 10 only)
exempt_tester() { :; }
