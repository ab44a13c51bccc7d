package drill

import (
	"fmt"
	"html/template"
	"strings"
)

// Size of a chart in its own units.
const (
	chartWidth  = 860
	chartHeight = 150
	chartLeft   = 46
	chartBottom = 22
	chartTop    = 26
)

// chart draws one round: the longest latency of each step as a line, failed
// requests as bars (pale: first try, full: after the repeat), and marks of the
// fault, the healing and the alarms. Colours come from the page.
func chart(r *Round) template.HTML {
	t := r.Timeline
	n := len(t.Sent)
	if n == 0 {
		return ""
	}
	c := &canvas{total: float64(int64(n) * t.StepMS), top: 100}
	for _, l := range t.Latency {
		c.top = max(c.top, float64(l))
	}
	most := 1
	for _, f := range t.First {
		most = max(most, f)
	}
	c.printf(`<svg viewBox="0 0 %d %d" role="img" aria-label="requests over time">`, chartWidth, chartHeight)
	c.printf(`<rect class="held" x="%.1f" y="%d" width="%.1f" height="%d"/>`, c.x(r.FaultMS), chartTop,
		max(c.x(r.FaultMS+r.HealMS)-c.x(r.FaultMS), 1), chartHeight-chartTop-chartBottom)
	c.axes()
	width := max(float64(chartWidth-chartLeft)/float64(n), 1)
	for i := range n {
		if t.First[i] > 0 {
			c.bar("first", int64(i)*t.StepMS, width, float64(t.First[i])/float64(most))
		}
		if t.Retry[i] > 0 {
			c.bar("retry", int64(i)*t.StepMS, width, float64(t.Retry[i])/float64(most))
		}
	}
	var line strings.Builder
	for i := range n {
		if t.Sent[i] > 0 {
			fmt.Fprintf(&line, "%.1f,%.1f ", c.x(int64(i)*t.StepMS+t.StepMS/2), c.y(float64(t.Latency[i])))
		}
	}
	c.printf(`<polyline class="latency" points="%s"/>`, line.String())
	c.mark("fault", r.FaultMS, "fault")
	if r.HealMS > 0 {
		c.mark("heal", r.FaultMS+r.HealMS, "heal")
	}
	if r.DetectedMS >= 0 {
		c.mark("noticed", r.FaultMS+r.DetectedMS, "")
	}
	for _, a := range r.Alarms {
		c.mark("alarm", r.FaultMS+a.RaisedMS, "")
		if a.ClearedMS >= 0 {
			c.mark("clear", r.FaultMS+r.HealMS+a.ClearedMS, "")
		}
	}
	c.printf(`</svg>`)
	return template.HTML(c.b.String()) //nolint:gosec // only numbers and fixed words are in it
}

type canvas struct {
	b     strings.Builder
	total float64 // milliseconds across
	top   float64 // milliseconds of latency upwards
}

func (c *canvas) printf(format string, args ...any) { fmt.Fprintf(&c.b, format, args...) }

func (c *canvas) x(at int64) float64 {
	return chartLeft + min(float64(at)/c.total, 1)*(chartWidth-chartLeft)
}

func (c *canvas) y(latency float64) float64 {
	return chartHeight - chartBottom - latency/c.top*(chartHeight-chartTop-chartBottom)
}

func (c *canvas) bar(class string, at int64, width, share float64) {
	h := max(share*(chartHeight-chartTop-chartBottom), 3)
	c.printf(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, class, c.x(at), chartHeight-chartBottom-h, width, h)
}

// mark is a vertical line; what is beyond the chart is left out.
func (c *canvas) mark(class string, at int64, label string) {
	if float64(at) > c.total {
		return
	}
	c.printf(`<line class="mark %s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, class, c.x(at), c.x(at), chartTop-8, chartHeight-chartBottom)
	if label != "" {
		c.printf(`<text class="%s" x="%.1f" y="%d">%s</text>`, class, c.x(at)+3, chartTop-10, label)
	}
}

func (c *canvas) axes() {
	c.printf(`<line class="axis" x1="%d" x2="%d" y1="%d" y2="%d"/>`, chartLeft, chartWidth, chartHeight-chartBottom, chartHeight-chartBottom)
	for _, share := range []float64{0.5, 1} {
		c.printf(`<text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`, chartLeft-4, c.y(c.top*share)+4, latencyText(c.top*share))
	}
	step := int64(1000)
	for c.total/float64(step) > 12 {
		step *= 2
	}
	for at := int64(0); float64(at) <= c.total; at += step {
		c.printf(`<text class="tick" x="%.1f" y="%d" text-anchor="middle">%d s</text>`, c.x(at), chartHeight-6, at/1000)
	}
}

func latencyText(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.1f s", v/1000)
	}
	return fmt.Sprintf("%.0f ms", v)
}
