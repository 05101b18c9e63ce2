package folders
import ("testing";"strings";"time")
func TestZZ(t *testing.T) {
 for _, u := range []string{"[","{","a:\n ","- ","? ","*a,","&a ","!!x ","\"","'","- - ","{a,","[a,","{? ","a: [","\n-","# \n","!","%","| ","{a: ","[{","\"\\x00\"","a: b\n","? a\n: b\n","- {","[a: ", "<<: *a\n", "\u2028", "\t", " ", "-\n", "?\n", ":\n", ": ", "- - - ", "- !!a &b ", "[?", "[ ? x : ", "|\n  ", ">\n\n"} {
  n := MaxFrontMatter/len(u)
  for _, pre := range []string{"", "a: ", "x: [", "{"} {
  s := "---\n"+pre+strings.Repeat(u, n-2)+"\n---\n"
  t0 := time.Now(); _, err := parseFrontMatter(s); if d := time.Since(t0); d > 100*time.Millisecond { t.Logf("%q %q %v %.80v", pre, u, d, err) }
  }
 }
 // indent staircase
 var b strings.Builder
 for i := 0; b.Len() < MaxFrontMatter-1000; i++ { b.WriteString(strings.Repeat(" ", i)+"- \n") }
 t0 := time.Now(); _, err := parseFrontMatter("---\n"+b.String()+"---\n"); t.Log(time.Since(t0), err)
}
