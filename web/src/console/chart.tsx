// A chart of uPlot's, in the page's colours, with a caption that says the same for ears.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';

export interface Line {
  label: string;
  color: string; // a custom property's name
  fill?: boolean;
}

export interface ChartProps {
  title: string;
  summary: string; // what it shows now, as a sentence
  lines: Line[];
  data: uPlot.AlignedData; // x in seconds
  from: number | null; // seconds; null: where the data begin
  to: number;
  value: (n: number) => string;
  version: string; // another one: other lines
}

const kHeight = 190;

function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// The time of day, as fine as the ticks are.
function timeLabels(_: uPlot, ticks: number[], __: number, ___: number, step: number): string[] {
  return ticks.map((seconds) => {
    const time = new Date(seconds * 1000);
    const text = time.toLocaleTimeString('en', { hour12: false, timeStyle: 'medium' });
    if (step >= 60) return text.slice(0, 5);
    return step >= 1 ? text : `${text}.${Math.floor(time.getMilliseconds() / 100)}`;
  });
}

function options(props: ChartProps, width: number): uPlot.Options {
  const quiet = color('--quiet');
  const line = color('--line');
  const font = '12px system-ui, sans-serif';
  const axis = { stroke: quiet, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  return {
    width,
    height: kHeight,
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    legend: { show: false },
    scales: {
      x: { time: true },
      y: { range: (_, __, max) => [0, Math.max(1, max) * 1.08] },
    },
    axes: [
      { ...axis, size: 26, space: 80, values: timeLabels },
      {
        ...axis,
        size: 58,
        space: 34,
        values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : props.value(tick))),
      },
    ],
    series: [
      {},
      ...props.lines.map((each): uPlot.Series => {
        const stroke = color(each.color);
        const series: uPlot.Series = {
          label: each.label,
          stroke,
          width: 2,
          points: { show: false },
        };
        if (each.fill) series.fill = `color-mix(in srgb, ${stroke} 18%, transparent)`;
        return series;
      }),
    ],
  };
}

// The data as they are now, and the stretch of time that is shown.
function show(chart: uPlot, props: ChartProps): void {
  chart.setData(props.data, false);
  const first = props.data[0][0] ?? props.to - 60;
  chart.setScale('x', { min: props.from ?? Math.min(first, props.to - 1), max: props.to });
}

export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const make = () => {
      plot.current?.destroy();
      const now = latest.current;
      plot.current = new uPlot(options(now, element.clientWidth), now.data, element);
      show(plot.current, now);
    };
    make();
    const resize = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (plot.current && width > 0 && width !== plot.current.width) {
        plot.current.setSize({ width, height: kHeight });
      }
    });
    resize.observe(element);
    // Its colours are drawn, not styled.
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', make);
    return () => {
      resize.disconnect();
      scheme.removeEventListener('change', make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [props.version]);

  useEffect(() => {
    if (plot.current) show(plot.current, props);
  });

  return (
    <figure class="chart">
      <figcaption>
        <h3>{props.title}</h3>
        <ul class="legend">
          {props.lines.map((line) => (
            <li key={line.label}>
              <i style={{ background: `var(${line.color})` }} aria-hidden="true" />
              {line.label}
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={box} class="plot" role="img" aria-label={`${props.title}: ${props.summary}`} />
    </figure>
  );
}
