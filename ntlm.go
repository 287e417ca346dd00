package gss

// ntlmFlags are those of flags that NTLM has. As initiator gss-ntlmssp, MIT's plugin,
// grants whatever it is asked for, also mutual authentication and delegation, seen
// in 1.2.0.
func ntlmFlags(mech OID, flags Flags) Flags {
	if mech == MechNTLM && kind() == KindMIT {
		flags &= FlagReplay | FlagSequence | FlagConf | FlagInteg | FlagIdentify | FlagChannelBound
	}
	return flags
}
