use equipoise::entropy::Bound;
use equipoise::sides::*;
struct R(u64);
impl R{
 fn b(&mut self)->u64{self.0=self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);let mut z=self.0;z=(z^(z>>30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);z=(z^(z>>27)).wrapping_mul(0x94d0_49bb_1331_11eb);z^(z>>31)}
 fn u(&mut self)->f64{(self.b()>>11) as f64/(1u64<<53) as f64}
 fn r(&mut self,a:f64,b:f64)->f64{a+(b-a)*self.u()}
 fn n(&mut self)->f64{let (a,b)=(self.u().max(1e-300),self.u());(-2.0*a.ln()).sqrt()*(std::f64::consts::TAU*b).cos()}
 fn chance(&mut self,p:f64)->bool{self.u()<p}
 fn k(&mut self,n:u64)->usize{(self.b()%n) as usize}
}
#[derive(Clone,Debug)]
struct S{u:Vec<f64>,m:Vec<f64>,l:Vec<f64>,h:f64,f:Vec<f64>,c:Vec<f64>,cap:Vec<f64>,q:f64,sat:usize,sc:Vec<f64>}
fn side(r:&mut R,fam:usize,sign:f64)->S{
  let k=match fam{4=>1+r.k(3),5=>50+r.k(150),_=>1+r.k(16)};
  let price=10f64.powf(r.r(-1.0,3.0)); let lev=r.r(1.0,20.0);
  let mut u:Vec<f64>=vec![];let mut m=vec![];let mut l=vec![];
  for i in 0..k{ let d=2.0*(1.0+i as f64*r.r(0.5,1.5)); let lam=1.0-(-3.0*(-0.15*d).exp()).exp(); let e=d-3.0*(-d/8.0).exp()-1.5; u.push(lam*e*price*1e-4); m.push(price*(1.0+sign*d*1e-4)/lev); l.push(lam);}
  match fam{
   1=>{let v=r.r(-0.3,1.0); for x in u.iter_mut(){ if r.chance(0.7){*x=v;}}}
   2=>{for x in u.iter_mut(){*x=10f64.powf(r.r(-8.0,8.0))*if r.chance(0.3){-1.0}else{1.0}} if r.chance(0.5){for x in m.iter_mut(){*x=10f64.powf(r.r(-4.0,4.0))}}}
   3=>{for x in u.iter_mut(){*x=r.n()} for x in m.iter_mut(){*x=r.r(0.2,2.0)*price}}
   6=>{for x in u.iter_mut(){*x=-x.abs()*r.r(0.0,2.0)+if r.chance(0.2){0.01*price*1e-4}else{0.0}}}
   7=>{for x in u.iter_mut(){*x=r.n()*1e-4*price} for x in m.iter_mut(){if r.chance(0.3){*x=0.0}}}
   _=>{}
  }
  let q=10f64.powf(r.r(0.0,4.0))/price*lev;
  let hm=(k as f64).ln();
  let h=match r.k(8){0=>-1.0,1=>0.0,2=>hm,3=>hm*(1.0-10f64.powf(r.r(-9.0,-1.0))),_=>hm*r.r(0.1,0.99)};
  let kk=k as f64;
  let f:Vec<f64>=match r.k(4){0=>(0..k).map(|_|r.r(0.0,0.3)/kk).collect(),1=>vec![r.r(0.0,0.9)/kk;k],_=>vec![0.0;k]};
  let c:Vec<f64>=match r.k(4){0=>(0..k).map(|_|(r.r(1.2,4.0)/kk).min(1.0)).collect(),1=>vec![(r.r(1.05,3.0)/kk).min(1.0);k],_=>vec![1.0;k]};
  let cap:Vec<f64>=match r.k(4){0=>(0..k).map(|_|if r.chance(0.5){q/kk*r.r(0.05,2.0)}else{f64::INFINITY}).collect(),1=>vec![q/kk*r.r(0.1,3.0);k],_=>vec![f64::INFINITY;k]};
  // the flattest shares under boxes
  let hmax={ let (mut lo,mut hi)=(0.0,1.0); for _ in 0..200{let t=0.5*(lo+hi); let s:f64=(0..k).map(|i|f64::max(f[i],t).min(c[i])).sum(); if s<1.0{lo=t}else{hi=t}} -(0..k).map(|i|{let p=f64::max(f[i],hi).min(c[i]); if p>0.0{p*p.ln()}else{0.0}}).sum::<f64>()};
  let h=if h>hmax&&r.chance(0.9){hmax*(1.0-if r.chance(0.3){0.0}else{10f64.powf(r.r(-9.0,-2.0))})}else{h};
  let sat=if fam==8{1+r.k(2)}else{0};
  let sc=(0..k).map(|_|q/kk*10f64.powf(r.r(-2.0,2.0))).collect();
  S{u,m,l,h,f,c,cap,q,sat,sc}
}
fn main(){
  let n:u64=std::env::args().nth(1).unwrap().parse().unwrap();
  let only:Option<u64>=std::env::args().nth(2).map(|x|x.parse().unwrap());
  let names=["market","ties","ranges","random","small","large","negative","freemargin","saturating"];
  let mut solver=SidesSolver::new();
  let mut bad=[0usize;9];let mut cnt=[0usize;9];let mut its:Vec<u32>=vec![];let mut shown=0;let mut worst=[0f64;9];
  let t0=std::time::Instant::now();
  for seed in 0..n{
    if let Some(o)=only{if seed!=o{continue} solver.trace=true;}
    let mut r=R(seed.wrapping_mul(7919)+1);
    let fam=(seed%9) as usize;
    let b=side(&mut r,fam,-1.0);let a=side(&mut r,fam,1.0);
    let mk=|s:&S|->(f64,){(s.m.iter().sum::<f64>()/s.m.len() as f64*s.q,)};
    let need=mk(&b).0+mk(&a).0;
    let budget=match r.k(4){0=>Budget{side:[need*r.r(0.05,1.2),need*r.r(0.05,1.2)],total:f64::INFINITY},1=>Budget{side:[need*0.5,f64::INFINITY],total:need*r.r(0.05,1.2)},_=>Budget{side:[f64::INFINITY;2],total:need*10f64.powf(r.r(-3.0,0.1))}};
    let share=match r.k(5){0=>Some([0.3,0.7]),1=>Some([0.5,0.5]),2=>{let x=r.u();let y=r.u();Some([f64::min(x,y),f64::max(x,y)])},_=>None};
    let umax=b.u.iter().chain(&a.u).fold(0f64,|m,x|m.max(x.abs()));
    let q=b.q.max(a.q);
    let inv=match r.k(3){0=>None,_=>Some(Inventory{position:r.n()*q,price_of_risk:umax/q*10f64.powf(r.r(-4.0,2.0)),fill_variance:r.chance(0.3)})};
    fn st<'a>(s:&'a S)->Side<'a>{Side{utility:&s.u,margin:&s.m,fill_probability:Bound::Each(&s.l),entropy_min:s.h,share_floor:Bound::Each(&s.f),share_cap:Bound::Each(&s.c),size_cap:Bound::Each(&s.cap),size_max:s.q,saturation:match s.sat{0=>Saturation::None,1=>Saturation::Exponential(Bound::Each(&s.sc)),_=>Saturation::Log(Bound::Each(&s.sc))}}}
    let p=Sides{side:[st(&b),st(&a)],budget,bid_share:share,inventory:inv};
    let s=solver.solve(&p).unwrap();
    cnt[fam]+=1;its.push(s.iterations);
    let g=s.gap/s.scale; let fail=!(g<=1e-8&&g>= -1e-11&&s.violation<=1e-10);
    worst[fam]=worst[fam].max(g);
    if fail{bad[fam]+=1; if shown<400||only.is_some(){shown+=1;println!("{seed} {} obj {:.9e} gap {:.2e} viol {:.2e} it {} side {:?} K {} {} h/hmax {:.6} {:.6} share {:?} inv {:?} mu {:?} T {:?}",names[fam],s.objective,g,s.violation,s.iterations,s.side,b.u.len(),a.u.len(),b.h/(b.u.len() as f64).ln(),a.h/(a.u.len() as f64).ln(),share,inv,s.margin_price,s.temperature);
      if only.is_some(){println!("{b:?}\n{a:?}\n{budget:?}\nsizes {:?}",solver.size());}
    }}
  }
  let dt=t0.elapsed().as_secs_f64();
  its.sort();
  for f in 0..9{println!("{:12} {} bad {} worst {:.1e}",names[f],cnt[f],bad[f],worst[f]);}
  println!("it p50 {} p99 {} max {} us/solve {:.2}",its[its.len()/2],its[its.len()*99/100],its[its.len()-1],dt*1e6/n as f64);
}
