package gss

import (
	"fmt"
	"testing"
)

func benchSizes(b *testing.B, bench func(b *testing.B, i, a *Ctx, msg []byte)) {
	needKrb5(b)
	for _, n := range []int{64, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			i, a := establish(b, MechKrb5, FlagMutual|FlagConf|FlagInteg)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			bench(b, i, a, random(n))
		})
	}
}

func BenchmarkWrap(b *testing.B) {
	benchSizes(b, func(b *testing.B, i, _ *Ctx, msg []byte) {
		dst := make([]byte, 0, len(msg)+128)
		for b.Loop() {
			if _, _, err := i.Wrap(dst, msg, true, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkUnwrap(b *testing.B) {
	benchSizes(b, func(b *testing.B, i, a *Ctx, msg []byte) {
		tok, _, err := i.Wrap(nil, msg, true, 0)
		check(b, err)
		dst, again := make([]byte, 0, len(msg)), make([]byte, len(tok))
		for b.Loop() {
			copy(again, tok) // Unwrap scrambles it
			if _, _, _, err := a.Unwrap(dst, again); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMIC(b *testing.B) {
	benchSizes(b, func(b *testing.B, i, a *Ctx, msg []byte) {
		dst := make([]byte, 0, 64)
		for b.Loop() {
			mic, err := i.GetMIC(dst, msg, 0)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := a.VerifyMIC(msg, mic); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	needKrb5(b)
	for name, mech := range map[string]OID{"krb5": MechKrb5, "SPNEGO": MechSPNEGO} {
		b.Run(name, func(b *testing.B) {
			target := server(b)
			b.ReportAllocs()
			for b.Loop() {
				i, a, err := handshake(&InitArgs{Target: target, Mech: mech, Flags: allFlags}, &AcceptArgs{})
				if err != nil {
					b.Fatal(err)
				}
				i.Delete()
				a.Delete()
			}
		})
	}
}
